"""A day at a Tryton CRM. Through pgveil as a restricted role; what the database holds is read past it."""
import glob
import json
import os
import sys

import psycopg
from proteus import Model, config

PROXY = f"postgresql://agent@127.0.0.1:{os.environ['PROXY_PORT']}/crm"
PARTIES = [
    ("张伟", "13800138000", "zhangwei@example.com"),
    ("欧阳娜娜", "13900139000", "nana@example.com"),
    ("Otto Meier", "+4915112345678", "otto@example.com"),
]
passed, failed = 0, 0


def check(name, condition, shown=None):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {shown!r}")


def stored(query):
    connection = psycopg.connect(host="127.0.0.1", port=os.environ["SERVER_PORT"], user="postgres", dbname="crm")
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def numbers():
    return stored("SELECT p.name, m.type, m.value FROM party_contact_mechanism m JOIN party_party p ON p.id = m.party ORDER BY m.id")


config.set_trytond(PROXY, user="admin", config_file=None)
Party = Model.get("party.party")
Mechanism = Model.get("party.contact_mechanism")

for name, phone, email in PARTIES:
    party = Party(name=name)
    party.contact_mechanisms.new(type="phone", value=phone)
    party.contact_mechanisms.new(type="email", value=email)
    party.save()
original = numbers()
check("created", len(original) == 6, original)

found = Party.find([("contact_mechanisms.value", "=", "13800138000")])
check("found by exact number", len(found) == 1, found)
found = Mechanism.find([("value", "=", "13900139000")])
check("mechanism found by exact number", [m.party.name for m in found] == ["欧***"], [m.party.name for m in found])
check("the number is masked", [m.value for m in found] == ["139****9000"], [m.value for m in found])
check("part of a number finds nothing", not Party.find([("contact_mechanisms.value", "like", "1390013%")]))
check("the mask can be searched", len(Mechanism.find([("value", "like", "139****%")])) == 1)

# The form: opened, an open field changed, everything written back as it was shown.
for party in Party.find([]):
    for mechanism in party.contact_mechanisms:
        mechanism.comment = "seen"
        mechanism.value = mechanism.value
        mechanism.save()
    party.name = party.name
    party.save()
    Party.write([party.id], {"name": party.name, "lang": None}, config.get_config().context)
    for mechanism in party.contact_mechanisms:
        Mechanism.write([mechanism.id], {"value": mechanism.value}, config.get_config().context)
check("masked forms leave what is stored", numbers() == original, numbers())
check("open fields are stored", stored("SELECT count(*) FROM party_contact_mechanism WHERE comment = 'seen'") == [(6,)])

# A new number is a new number.
(mechanism,) = Mechanism.find([("value", "=", "13800138000")])
mechanism.value = "13811112222"
mechanism.save()
check("a new number is stored", stored("SELECT count(*) FROM party_contact_mechanism WHERE value = '13811112222'") == [(1,)])
Mechanism.write([mechanism.id], {"value": "13800138000"}, config.get_config().context)
check("and the old one again", numbers() == original, numbers())

# Lists and exports.
names = sorted(p.name for p in Party.find([], order=[("name", "ASC")]))
check("the list is masked", names == sorted(["张*", "欧***", "O*********"]) , names)
ids = [party.id for party in Party.find([])]
rows = Party.export_data(ids, ["name", "contact_mechanisms/value", "contact_mechanisms/comment"], config.get_config().context)
text = json.dumps(rows, ensure_ascii=False, default=str)
check("the export is masked", "138****8000" in text and "seen" in text and "13800138000" not in text and "zhangwei" not in text, text)
check("masks are counted", len(Party.find([("name", "like", "张%")])) == 1)

Opportunity = Model.get("sale.opportunity")
check("opportunities are listed", Opportunity.find([]) == [])

party = Party.find([("contact_mechanisms.value", "=", "+4915112345678")])[0]
party.delete()
check("a party is deleted", stored("SELECT count(*) FROM party_party WHERE name = 'Otto Meier'") == [(0,)])

refused = []
for path in glob.glob(os.path.join(os.environ["AUDIT"], "**", "*"), recursive=True):
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"verdict":"refuse"' in line:
                    refused.append(line.strip()[:600])
for line in refused[:20]:
    print("refused:", line)
check("nothing was refused", not refused, len(refused))
print(f"tryton: {passed} passed, {failed} failed, 0 skipped")
sys.exit(failed > 0)
