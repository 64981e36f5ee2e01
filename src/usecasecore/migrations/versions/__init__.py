"""The revisions. Each is frozen: it spells its tables out and never looks at today's."""
