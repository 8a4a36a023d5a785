-- People, companies and business for schema.sql: invented, and the same on every run and every PostgreSQL from 13 to 18.
-- All "chance" is pick(row, salt, n) below. random() is no use for that: what setseed gives differs between major versions.
-- hashint8extended does not: hash partitioning relies on it staying as it is.
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
SET timezone = 'UTC';
SET jit = off;
BEGIN;

-- A number from 0 to n - 1.
CREATE FUNCTION pg_temp.pick(row_number bigint, salt bigint, n bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT ((hashint8extended(row_number, salt) & 4611686018427387903) % n)::integer $$;

-- An element of a list written as one string of words.
CREATE FUNCTION pg_temp.word(row_number bigint, salt bigint, words text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT (string_to_array(words, ' '))[1 + pg_temp.pick(row_number, salt, array_length(string_to_array(words, ' '), 1))] $$;

-- As many digits as asked for.
CREATE FUNCTION pg_temp.digits(row_number bigint, salt bigint, n integer) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT lpad(pg_temp.pick(row_number, salt, (10 ^ n)::bigint)::text, n, '0') $$;

-- The seventeen digits of a Chinese identity card with the check character of GB 11643 (ISO 7064 MOD 11-2).
CREATE FUNCTION pg_temp.cn_id(body text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT body || substr('10X98765432', 1 + (sum(substr(body, k::int, 1)::int * w) % 11)::int, 1)
   FROM unnest(ARRAY[7,9,10,5,8,4,2,1,6,3,7,9,10,5,8,4,2]) WITH ORDINALITY AS t(w, k) $$;

-- The ten digits of a Polish PESEL with its check digit.
CREATE FUNCTION pg_temp.pl_id(body text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT body || ((10 - sum(substr(body, k::int, 1)::int * w) % 10) % 10)::text
   FROM unnest(ARRAY[1,3,7,9,1,3,7,9,1,3]) WITH ORDINALITY AS t(w, k) $$;

-- Names as native:latin, so that mail addresses can be made of them. The latin part is left out where it is the same.
CREATE TEMP TABLE country (
    code text PRIMARY KEY, share int, companies int, suffix text, domain text, currency text, places text, families text, women text, men text
);
INSERT INTO country VALUES
('CN', 55, 160, '有限公司', 'cn', 'CNY',
 '北京:CN-North:110105 天津:CN-North:120101 西安:CN-North:610113 上海:CN-East:310115 杭州:CN-East:330106 南京:CN-East:320102 苏州:CN-East:320506 深圳:CN-South:440305 广州:CN-South:440106 厦门:CN-South:350203 成都:CN-West:510104 重庆:CN-West:500103 武汉:CN-West:420106',
 '王:wang 李:li 张:zhang 刘:liu 陈:chen 杨:yang 赵:zhao 黄:huang 周:zhou 吴:wu 徐:xu 孙:sun 胡:hu 朱:zhu 高:gao 林:lin 何:he 郭:guo 马:ma 罗:luo 梁:liang 宋:song 郑:zheng 谢:xie 韩:han 唐:tang 冯:feng 于:yu 董:dong 萧:xiao 欧阳:ouyang',
 '芳:fang 娜:na 敏:min 静:jing 丽:li 秀英:xiuying 艳:yan 娟:juan 欣怡:xinyi 雨桐:yutong 诗涵:shihan 梦琪:mengqi 雅婷:yating 佳怡:jiayi 晓燕:xiaoyan 思雨:siyu',
 '伟:wei 强:qiang 磊:lei 军:jun 勇:yong 杰:jie 涛:tao 明:ming 浩然:haoran 子轩:zixuan 建国:jianguo 志强:zhiqiang 宇航:yuhang 俊杰:junjie 文博:wenbo 天佑:tianyou'),
('DE', 12, 40, 'GmbH', 'de', 'EUR',
 'Berlin:EU-Central:30 Hamburg:EU-Central:40 München:EU-Central:89 Köln:EU-Central:221 Leipzig:EU-Central:341 Stuttgart:EU-Central:711',
 'Müller:mueller Schmidt Schneider Fischer Weber Wagner Becker Hoffmann Schäfer:schaefer Koch Richter Wolf Schröder:schroeder Neumann Krüger:krueger Köhler:koehler',
 'Anna Lena Katharina Julia Sabine Petra Monika Annegret Franziska Hannah Greta', 'Lukas Jonas Felix Maximilian Thomas Andreas Jürgen:juergen Stefan Matthias Paul Götz:goetz'),
('FR', 9, 25, 'SARL', 'fr', 'EUR',
 'Paris:EU-West:1 Lyon:EU-West:4 Marseille:EU-West:4 Nantes:EU-West:2 Lille:EU-West:3 Toulouse:EU-West:5',
 'Martin Bernard Dubois Moreau Lefèvre:lefevre Girard Mercier Faure Rousseau Chevalier Gauthier Lemaître:lemaitre',
 'Camille Chloé:chloe Manon Élodie:elodie Aurélie:aurelie Sophie Inès:ines', 'Hugo Théo:theo Julien Antoine François:francois Mathieu Loïc:loic'),
('IT', 7, 20, 'S.r.l.', 'it', 'EUR',
 'Roma:EU-South:06 Milano:EU-South:02 Torino:EU-South:011 Napoli:EU-South:081 Bologna:EU-South:051',
 'Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci Marino Greco D''Angelo:dangelo', 'Giulia Chiara Francesca Elena Martina Alessia', 'Marco Luca Alessandro Matteo Giuseppe Nicolò:nicolo'),
('ES', 6, 20, 'S.L.', 'es', 'EUR',
 'Madrid:EU-South:91 Barcelona:EU-South:93 Valencia:EU-South:96 Sevilla:EU-South:95',
 'García:garcia Fernández:fernandez González:gonzalez López:lopez Martínez:martinez Sánchez:sanchez Pérez:perez Gómez:gomez Núñez:nunez', 'María:maria Lucía:lucia Carmen Paula Sofía:sofia', 'Antonio Javier Álvaro:alvaro Iñigo:inigo Pablo Sergio'),
('PL', 6, 18, 'Sp.z.o.o.', 'pl', 'PLN',
 'Warszawa:EU-Central:22 Kraków:EU-Central:12 Łódź:EU-Central:42 Wrocław:EU-Central:71 Gdańsk:EU-Central:58',
 'Nowak Kowalczyk Wójcik:wojcik Woźniak:wozniak Mazur Kaczmarek Zając:zajac Król:krol Wróbel:wrobel', 'Zofia Małgorzata:malgorzata Agnieszka Ewa Łucja:lucja', 'Piotr Paweł:pawel Krzysztof Michał:michal Łukasz:lukasz'),
('NL', 3, 10, 'B.V.', 'nl', 'EUR',
 'Amsterdam:EU-West:20 Rotterdam:EU-West:10 Utrecht:EU-West:30', 'Jansen Bakker Visser Smit Meijer Bos Mulder Dekker', 'Sanne Lotte Fleur Anouk', 'Daan Sem Bram Thijs'),
('SE', 2, 7, 'AB', 'se', 'SEK',
 'Stockholm:EU-North:8 Göteborg:EU-North:31 Malmö:EU-North:40', 'Andersson Johansson Lindström:lindstrom Nyström:nystrom Sjöberg:sjoberg Åkesson:akesson', 'Astrid Elsa Märta:marta', 'Erik Lars Björn:bjorn Åke:ake');

-- Each country's ranges in a hundred (people) and in the list of companies.
CREATE TEMP TABLE share AS
    SELECT code, sum(share) OVER w - share AS from_share, sum(share) OVER w AS to_share, sum(companies) OVER w - companies AS from_company, companies
    FROM country WINDOW w AS (ORDER BY share DESC, code);

-- n people: a family name, a given name, a place. Sex is the parity of pick(i, salt + 3, 2).
CREATE FUNCTION pg_temp.people(n integer, salt bigint)
RETURNS TABLE (i integer, code text, domain text, currency text, from_company bigint, companies integer, family text, given text, male boolean, place text)
LANGUAGE sql STABLE AS $$
    SELECT g, c.code, c.domain, c.currency, s.from_company, s.companies,
           pg_temp.word(g, salt + 1, c.families),
           pg_temp.word(g, salt + 2, CASE WHEN pg_temp.pick(g, salt + 3, 2) = 1 THEN c.men ELSE c.women END),
           pg_temp.pick(g, salt + 3, 2) = 1,
           pg_temp.word(g, salt + 4, c.places)
    FROM generate_series(1, n) AS g
    JOIN share s ON pg_temp.pick(g, salt, 100) >= s.from_share AND pg_temp.pick(g, salt, 100) < s.to_share
    JOIN country c USING (code)
$$;
CREATE FUNCTION pg_temp.native(name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT split_part(name, ':', 1) $$;
CREATE FUNCTION pg_temp.latin(name text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT lower(CASE WHEN name LIKE '%:%' THEN split_part(name, ':', 2) ELSE name END) $$;
CREATE FUNCTION pg_temp.full_name(code text, family text, given text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE code WHEN 'CN' THEN pg_temp.native(family) || pg_temp.native(given) ELSE pg_temp.native(given) || ' ' || pg_temp.native(family) END $$;
CREATE FUNCTION pg_temp.mobile(code text, row_number bigint, salt bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE code
        WHEN 'CN' THEN '1' || pg_temp.word(row_number, salt, '3 5 7 8 9 3 8 5 6 4') || pg_temp.digits(row_number, salt + 1, 9)
        WHEN 'DE' THEN '+49 15' || pg_temp.word(row_number, salt, '1 2 7') || ' ' || pg_temp.digits(row_number, salt + 1, 8)
        WHEN 'FR' THEN '+33 6 ' || regexp_replace(pg_temp.digits(row_number, salt + 1, 8), '(..)(..)(..)(..)', '\1 \2 \3 \4')
        WHEN 'IT' THEN '+39 3' || pg_temp.word(row_number, salt, '28 33 40 47 91') || ' ' || pg_temp.digits(row_number, salt + 1, 7)
        WHEN 'ES' THEN '+34 6' || regexp_replace(pg_temp.digits(row_number, salt + 1, 8), '(..)(...)(...)', '\1 \2 \3')
        WHEN 'PL' THEN '+48 ' || pg_temp.word(row_number, salt, '50 60 66 72 88') || regexp_replace(pg_temp.digits(row_number, salt + 1, 7), '(.)(...)(...)', '\1 \2 \3')
        WHEN 'NL' THEN '+31 6 ' || pg_temp.digits(row_number, salt + 1, 8)
        ELSE '+46 70 ' || regexp_replace(pg_temp.digits(row_number, salt + 1, 7), '(...)(..)(..)', '\1 \2 \3')
    END
$$;
CREATE FUNCTION pg_temp.landline(code text, area text, row_number bigint, salt bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE code
        WHEN 'CN' THEN NULL
        WHEN 'DE' THEN '+49 ' || area || ' ' || pg_temp.digits(row_number, salt, 7)
        WHEN 'FR' THEN '+33 ' || area || ' ' || regexp_replace(pg_temp.digits(row_number, salt, 8), '(..)(..)(..)(..)', '\1 \2 \3 \4')
        WHEN 'IT' THEN '+39 ' || area || ' ' || pg_temp.digits(row_number, salt, 7)
        WHEN 'ES' THEN '+34 ' || area || ' ' || regexp_replace(pg_temp.digits(row_number, salt, 7), '(...)(..)(..)', '\1 \2 \3')
        WHEN 'PL' THEN '+48 ' || area || ' ' || regexp_replace(pg_temp.digits(row_number, salt, 7), '(...)(..)(..)', '\1 \2 \3')
        WHEN 'NL' THEN '+31 ' || area || ' ' || pg_temp.digits(row_number, salt, 7)
        ELSE '+46 ' || area || ' ' || pg_temp.digits(row_number, salt, 7)
    END
$$;

INSERT INTO crm.tags (name, description, created_at)
SELECT name, description, '2023-01-02 08:00+00'
FROM (VALUES ('vip', 'Looked after by a team lead'), ('newsletter', 'Reads the newsletter'), ('partner', 'Works for a partner company'),
             ('fair-2024', 'Met at the fair of 2024'), ('at-risk', 'Considers leaving'), ('reference', 'May be named as a reference')) AS t(name, description);

-- Nobody who works here shares a login: the number makes it unique.
INSERT INTO crm.users (id, login, full_name, email, team, region, manager_id, created_at)
SELECT i, pg_temp.latin(given) || i, pg_temp.full_name(code, family, given),
       pg_temp.latin(given) || '.' || pg_temp.latin(family) || i || '@ourcompany.example',
       CASE WHEN i <= 24 THEN 'sales' WHEN i <= 34 THEN 'support' WHEN i <= 38 THEN 'finance' ELSE 'compliance' END,
       split_part(place, ':', 2), CASE WHEN i > 4 THEN 1 + i % 4 END, '2023-01-02 08:00+00'::timestamptz + i * interval '5 days'
FROM pg_temp.people(40, 9000) ORDER BY i;

INSERT INTO crm.companies (id, name, industry, country, city, region, website, employees, annual_revenue, owner_id, created_at)
SELECT id,
       CASE code
           WHEN 'CN' THEN pg_temp.native(place) || pg_temp.word(id, 21, '华信 东方 天成 金桥 海航 新月 远大 恒通 博雅 瑞丰 中科 联创 宏图 盛世 泰和 明德')
                          || pg_temp.word(id, 22, '科技 贸易 医疗 物流 软件 教育 能源 食品') || suffix
           ELSE pg_temp.native(pg_temp.word(id, 21, families)) || ' ' || pg_temp.word(id, 22, 'Technik Trading Medical Logistics Software Academy Energy Foods') || ' ' || replace(suffix, '.z.o.o.', '. z o.o.')
       END,
       pg_temp.word(id, 22, 'technology trade healthcare logistics software education energy food'),
       code, pg_temp.native(place), split_part(place, ':', 2), 'https://www.company' || id || '.example/' || domain,
       5 + pg_temp.pick(id, 24, 20) * pg_temp.pick(id, 25, 400), (50000 + pg_temp.pick(id, 26, 90000000))::numeric(14,2) + 0.50,
       1 + pg_temp.pick(id, 27, 24), '2023-01-05 09:00+00'::timestamptz + pg_temp.pick(id, 28, 850) * interval '1 day'
FROM (SELECT s.from_company + k AS id, c.*, pg_temp.word(s.from_company + k, 20, c.places) AS place
      FROM country c JOIN share s USING (code), generate_series(1, c.companies) AS k) AS company
ORDER BY id;

INSERT INTO crm.contacts (id, full_name, job_title, phone, mobile, email, id_card, birth_date, company_id, owner_id, country, city, region, tags, consent, notes, created_at, updated_at)
SELECT i, pg_temp.full_name(code, family, given),
       pg_temp.word(i, 30, 'Buyer CEO CTO Engineer Accountant Assistant Head_of_Sales Head_of_IT Lawyer Consultant'),
       coalesce(pg_temp.landline(code, area, i, 31), pg_temp.mobile(code, i, 32)),
       CASE WHEN pg_temp.pick(i, 34, 10) < 8 THEN CASE code WHEN 'CN' THEN '+86 ' ELSE '' END || pg_temp.mobile(code, i, 35) END,
       CASE WHEN pg_temp.pick(i, 37, 20) > 0
            THEN pg_temp.latin(given) || '.' || pg_temp.latin(family) || CASE WHEN pg_temp.pick(i, 38, 3) = 0 THEN '' ELSE (birth % 100)::text END || '@'
                 || CASE WHEN code = 'CN' THEN pg_temp.word(i, 39, '163.example qq.example company.example.cn') ELSE pg_temp.word(i, 39, 'mail.example firma.example company.example') || '.' || domain END END,
       CASE WHEN pg_temp.pick(i, 40, 10) < 9 THEN
           CASE code
               WHEN 'CN' THEN pg_temp.cn_id(area || to_char(birth_date, 'YYYYMMDD') || pg_temp.digits(i, 41, 2) || (2 * pg_temp.pick(i, 42, 5) + male::int)::text)
               WHEN 'ES' THEN pg_temp.digits(i, 43, 8) || substr('TRWAGMYFPDXBNJZSQVHLCKE', 1 + pg_temp.digits(i, 43, 8)::int % 23, 1)
               WHEN 'PL' THEN pg_temp.pl_id(to_char(birth_date, 'YY') || lpad((extract(month FROM birth_date)::int + CASE WHEN birth >= 2000 THEN 20 ELSE 0 END)::text, 2, '0')
                                            || to_char(birth_date, 'DD') || pg_temp.digits(i, 44, 3) || (2 * pg_temp.pick(i, 42, 5) + male::int)::text)
           END
       END,
       birth_date, CASE WHEN pg_temp.pick(i, 45, 12) > 0 THEN from_company + 1 + pg_temp.pick(i, 46, companies) END, 1 + pg_temp.pick(i, 47, 24),
       code, pg_temp.native(place), split_part(place, ':', 2),
       CASE pg_temp.pick(i, 48, 6) WHEN 0 THEN '{newsletter}' WHEN 1 THEN '{vip,reference}' WHEN 2 THEN '{fair-2024,newsletter}' WHEN 3 THEN '{partner}' ELSE '{}' END::text[],
       pg_temp.pick(i, 49, 5) > 1,
       CASE pg_temp.pick(i, 50, 8) WHEN 0 THEN 'Prefers mail' WHEN 1 THEN '下午联系' WHEN 2 THEN 'Décide avec son associé' WHEN 3 THEN 'Nur vormittags anrufen' END,
       created, created + pg_temp.pick(i, 51, 90 * 24) * interval '1 hour'
FROM (SELECT p.*, split_part(place, ':', 3) AS area, 1955 + pg_temp.pick(i, 60, 50) AS birth,
             make_date(1955 + pg_temp.pick(i, 60, 50), 1 + pg_temp.pick(i, 61, 12), 1 + pg_temp.pick(i, 62, 28)) AS birth_date,
             '2023-01-10 08:00+00'::timestamptz + pg_temp.pick(i, 63, 880 * 24 * 60) * interval '1 minute' AS created
      FROM pg_temp.people(5000, 100) AS p) AS person
ORDER BY i;
UPDATE crm.contacts SET job_title = replace(job_title, '_', ' ') WHERE job_title LIKE '%\_%';

INSERT INTO crm.leads (id, full_name, company_name, phone, email, source, status, score, owner_id, created_at)
SELECT i, pg_temp.full_name(code, family, given), (SELECT name FROM crm.companies WHERE id = from_company + 1 + pg_temp.pick(i, 70, companies)),
       pg_temp.mobile(code, i, 71), pg_temp.latin(family) || i || '@lead.example.' || domain,
       (ARRAY['web', 'fair', 'referral', 'wechat', 'cold call'])[1 + pg_temp.pick(i, 73, 5)],
       (ARRAY['new', 'contacted', 'qualified', 'lost'])[1 + pg_temp.pick(i, 74, 4)],
       pg_temp.pick(i, 75, 101), CASE WHEN pg_temp.pick(i, 76, 4) > 0 THEN 1 + pg_temp.pick(i, 77, 24) END,
       '2025-01-01 08:00+00'::timestamptz + pg_temp.pick(i, 78, 180 * 24) * interval '1 hour'
FROM pg_temp.people(800, 200) ORDER BY i;
-- A converted lead is the person that it became.
UPDATE crm.leads l SET status = 'converted', contact_id = c.id, full_name = c.full_name, phone = coalesce(c.mobile, c.phone), email = c.email
FROM crm.contacts c WHERE l.id % 8 = 0 AND c.id = 1 + pg_temp.pick(l.id, 79, 5000);

INSERT INTO crm.opportunities (id, title, company_id, contact_id, owner_id, stage, amount, currency, probability, expected_close, created_at)
SELECT i, (ARRAY['Licences', 'Support contract', 'Pilot project', 'Renewal', 'Extension', 'Training', 'Hardware'])[1 + pg_temp.pick(i, 80, 7)] || ' ' || extract(year FROM created)::int,
       k.company_id, k.id, k.owner_id, stage, round(1500 + pg_temp.pick(i, 82, 1000) * pg_temp.pick(i, 83, 480) / 1.17, 2), n.currency,
       CASE stage WHEN 'won' THEN 100 WHEN 'lost' THEN 0 WHEN 'prospecting' THEN 10 WHEN 'proposal' THEN 40 ELSE 70 END,
       (created + (20 + pg_temp.pick(i, 84, 200)) * interval '1 day')::date, created
FROM (SELECT i, (ARRAY['prospecting', 'proposal', 'negotiation', 'won', 'lost'])[1 + pg_temp.pick(i, 81, 5)] AS stage,
             '2023-03-01 08:00+00'::timestamptz + pg_temp.pick(i, 85, 850) * interval '1 day' AS created
      FROM generate_series(1, 1200) AS i) AS o
JOIN crm.contacts k ON k.id = 1 + 4 * pg_temp.pick(i, 86, 1250)
JOIN country n ON n.code = k.country
WHERE k.company_id IS NOT NULL ORDER BY i;

INSERT INTO crm.tickets (id, contact_id, assignee_id, subject, priority, status, channel, callback_phone, opened_at, closed_at)
SELECT i, k.id, 25 + pg_temp.pick(i, 90, 10),
       (ARRAY['Invoice does not match the order', 'Cannot log in', 'Delivery is late', '发票抬头需要修改', '系统无法登录', 'Request for deletion of personal data', 'Question about renewal', 'Problème de connexion'])[1 + pg_temp.pick(i, 91, 8)],
       (ARRAY['low', 'normal', 'normal', 'high', 'urgent'])[1 + pg_temp.pick(i, 92, 5)],
       CASE WHEN pg_temp.pick(i, 93, 4) > 0 THEN 'closed' WHEN i % 2 = 0 THEN 'open' ELSE 'waiting' END,
       (ARRAY['phone', 'mail', 'wechat', 'web'])[1 + pg_temp.pick(i, 94, 4)],
       CASE WHEN pg_temp.pick(i, 95, 3) = 0 THEN coalesce(k.mobile, k.phone) END, opened,
       CASE WHEN pg_temp.pick(i, 93, 4) > 0 THEN opened + (1 + pg_temp.pick(i, 96, 200)) * interval '1 hour' END
FROM (SELECT i, '2024-06-01 08:00+00'::timestamptz + pg_temp.pick(i, 97, 390 * 24) * interval '1 hour' AS opened FROM generate_series(1, 1500) AS i) AS t
JOIN crm.contacts k ON k.id = 1 + pg_temp.pick(i, 98, 5000) ORDER BY i;

INSERT INTO crm.activities (id, happened_at, kind, contact_id, user_id, dialled_phone, seconds, summary)
SELECT i, '2023-02-01 08:00+00'::timestamptz + pg_temp.pick(i, 110, 870 * 24 * 6) * interval '10 minutes', kind, k.id, k.owner_id,
       CASE kind WHEN 'call' THEN k.phone END, CASE WHEN kind IN ('call', 'meeting') THEN 30 + pg_temp.pick(i, 111, 3000) END,
       (ARRAY['Talked about the offer', 'No answer', '客户要求降价', 'Sent the price list', 'Agreed on a date', 'Rückruf vereinbart'])[1 + pg_temp.pick(i, 112, 6)]
FROM (SELECT i, (ARRAY['call', 'call', 'mail', 'meeting', 'note'])[1 + pg_temp.pick(i, 113, 5)] AS kind FROM generate_series(1, 8000) AS i) AS a
JOIN crm.contacts k ON k.id = 1 + pg_temp.pick(i, 114, 5000) ORDER BY i;

INSERT INTO hr.employees (id, user_id, full_name, department, salary, birth_date, hired_on)
SELECT id, id, full_name, team, 3800 + 10 * pg_temp.pick(id, 120, 620), make_date(1965 + pg_temp.pick(id, 121, 38), 1 + pg_temp.pick(id, 122, 12), 1 + pg_temp.pick(id, 123, 28)), created_at::date
FROM crm.users ORDER BY id;

-- New rows continue where these end.
SELECT setval(pg_get_serial_sequence(t, 'id'), m, true)
FROM (SELECT 'crm.users' AS t, max(id) AS m FROM crm.users
      UNION ALL SELECT 'crm.companies', max(id) FROM crm.companies UNION ALL SELECT 'crm.contacts', max(id) FROM crm.contacts
      UNION ALL SELECT 'crm.leads', max(id) FROM crm.leads UNION ALL SELECT 'crm.opportunities', max(id) FROM crm.opportunities
      UNION ALL SELECT 'crm.tickets', max(id) FROM crm.tickets UNION ALL SELECT 'hr.employees', max(id) FROM hr.employees) AS last;
COMMIT;
ANALYZE;
