"""An order from draft to delivery: guards, creation, events, jobs, a nested state and a domain error."""
