"""Stock in bins: moves between two locked balances, reservations with a lifecycle of their own, orders that reserve."""
