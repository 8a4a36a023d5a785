\set company random(1, 160)
SELECT c.id, c.full_name, c.phone, c.email, co.name, o.title, o.amount, o.stage FROM crm.contacts c JOIN crm.companies co ON co.id = c.company_id LEFT JOIN crm.opportunities o ON o.contact_id = c.id WHERE c.company_id = :company ORDER BY c.full_name, o.id LIMIT 20;
