"""Super-resolution enhancers: architectures, training, export, runtime. The only package that imports torch."""
