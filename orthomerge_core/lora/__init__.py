"""LoRA extraction: the change from one model to another as a LoRA file (`extract`, `naming`)."""
