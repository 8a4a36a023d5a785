-- Four rows for the cases of crm.yaml, in the schema of deploy/crm/schema.sql.
INSERT INTO crm.users (id, login, full_name, email, team, region) VALUES (1, 'ann', 'Ann Lee', 'ann@example.com', 'sales', 'cn');
INSERT INTO crm.companies (id, name, industry, country, city, region, annual_revenue, owner_id)
    VALUES (1, 'North', 'trade', 'CN', 'Beijing', 'cn', 178946.15, 1);
INSERT INTO crm.contacts (id, full_name, phone, email, id_card, birth_date, company_id, owner_id, country, city, region) VALUES
    (1, 'Wang Wei', '13812345678', 'wei@north.example', '11010519680312004X', '1968-03-12', 1, 1, 'CN', 'Beijing', 'cn'),
    (2, 'Li Na', NULL, NULL, NULL, NULL, 1, 1, 'CN', 'Beijing', 'cn');
INSERT INTO hr.employees (full_name, department, salary, birth_date, hired_on) VALUES ('Ann Lee', 'sales', 12345.67, '1990-01-02', '2020-01-01');
