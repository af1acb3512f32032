"""What a queue knows, in the formats of other programs: tables, lines, traces. Knows neither the
terminal nor how events are stored."""
