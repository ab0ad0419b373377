"""The ground floor: what things are and the rules they follow. No I/O, no clock."""
