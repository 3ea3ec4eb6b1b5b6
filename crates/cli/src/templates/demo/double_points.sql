-- Run twice, this would do harm: exactly once matters.
UPDATE customers SET points = points * 2 + 1;
