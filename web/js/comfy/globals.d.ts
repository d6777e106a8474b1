/** Modules that ComfyUI serves beside this extension. */
declare module "*/scripts/api.js" {
  export const api: import("./types").ComfyApi;
}
declare module "*/scripts/app.js" {
  export const app: import("./types").ComfyApp;
}
declare var LiteGraph: any;
