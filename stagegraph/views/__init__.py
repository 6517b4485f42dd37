"""Pictures of a graph: text, Mermaid, DOT."""
