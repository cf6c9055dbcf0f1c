"""What the twenty residues are made of: tables, and the arrays read from them."""
