CREATE SCHEMA crm;
CREATE TABLE crm.contacts (id int PRIMARY KEY, name text, phone text, email text, city text);
INSERT INTO crm.contacts
SELECT g, 'Contact ' || g, '138' || lpad(g::text, 8, '0'), 'c' || g || '@example.com', (ARRAY['Lyon', '上海', 'Bergen'])[1 + g % 3]
FROM generate_series(1, 5000) g;
CREATE ROLE agent LOGIN;
CREATE ROLE support LOGIN;
GRANT USAGE ON SCHEMA crm TO agent, support;
GRANT SELECT ON crm.contacts TO agent, support;
