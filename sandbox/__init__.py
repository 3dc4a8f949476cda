"""Everything that lets the product run on one machine without a tenant."""
