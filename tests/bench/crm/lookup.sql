\set id random(1, 5000)
SELECT id, full_name, job_title, phone, email, city FROM crm.contacts WHERE id = :id;
