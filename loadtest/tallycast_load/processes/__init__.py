"""The worker processes: started, spoken to, stopped; and what the machine allows them."""
