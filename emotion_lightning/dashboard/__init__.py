"""What TensorBoard shows of a run besides its figures; the callback ``Dashboard`` says when."""
