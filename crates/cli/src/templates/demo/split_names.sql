-- dunlin: after 20260112100000
UPDATE customers
SET first_name = substr(name, 1, instr(name, ' ') - 1),
    last_name = substr(name, instr(name, ' ') + 1);
