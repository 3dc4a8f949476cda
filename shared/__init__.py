"""The product itself: everything that does not know Azure Functions."""
