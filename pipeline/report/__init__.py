"""Report: result files in, Markdown tables, documents and model cards out."""
