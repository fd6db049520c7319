"""Any jobs side by side: what differs in their specs, what they reached, how they got there."""
