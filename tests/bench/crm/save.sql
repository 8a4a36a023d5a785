\set id random(1, 5000)
\set score random(0, 100)
BEGIN;
UPDATE crm.contacts SET notes = 'spoken to', updated_at = now() WHERE id = :id;
UPDATE crm.leads SET score = :score WHERE id = :id;
COMMIT;
