-- Somebody tries the new shop, and puts a name right.
UPDATE customers SET last_name = 'Smith-Jones' WHERE email = 'ann7@example.org';
