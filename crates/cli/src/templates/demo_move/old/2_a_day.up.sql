-- A day in the old shop.
INSERT INTO orders VALUES (3001, 5, 0, 'desk', 'lamp 3', '2024-11-01'), (3002, 6, 0, 'chair', NULL, '2024-11-01');
UPDATE orders SET state = 1 WHERE id = 3;
DELETE FROM orders WHERE id = 1;
