"""Files of weights: headers, lazy readers, the writer, content hashes and the folders of caches."""
