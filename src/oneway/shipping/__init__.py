"""What leaves the training machine: a bundle of two ONNX files, the contract between them, and what was audited."""
