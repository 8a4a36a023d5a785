// A CRM session with node's pg, once as a restricted role and once as an unrestricted one. Where to connect comes from
// libpq's PG* variables; AGENT and DPO are user:password; MASKED=0 says that there is no pgveil in between; SKIPS
// is the file with checks to leave out; NODE_MODULES is where the packages are.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { strict as assert } from 'node:assert';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';

const require = createRequire(process.env.NODE_MODULES + '/');
const { Client, Pool, types } = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');

// Contact 3 and opportunity 2 of deploy/crm/seed.sql.
const PHONE = '13489222564', PHONE_MASKED = '134****2564';
const EMAIL = 'wenbo.wu68@company.example.cn', ID_CARD = '350203196801182412';
const EXPORT_LIMIT = 100;
// Dates and amounts as the server wrote them.
types.setTypeParser(types.builtins.DATE, (text) => text);

const skips = new Map();
if (existsSync(process.env.SKIPS ?? '')) {
  for (const line of readFileSync(process.env.SKIPS, 'utf8').split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) skips.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }
}

function session(role) {
  const [user, password] = process.env[role.toUpperCase()].split(':');
  const masked = role === 'agent' && process.env.MASKED !== '0';
  const ssl = process.env.PGSSLMODE === 'require' ? { rejectUnauthorized: false } : false;
  return {
    role, masked,
    options: { user, password, ssl },
    phone: masked ? PHONE_MASKED : PHONE,
    birth: masked ? '1968-01-01' : '1968-01-18',
    amount: masked ? 170000 : 178946.15,
  };
}

async function fails(promise, code) {
  const error = await promise.then(() => null, (e) => e);
  assert.ok(error, 'no error');
  assert.equal(error.code, code, error.message);
  return error;
}

const agentsOnly = (check) => Object.assign(check, { applies: (s) => s.role === 'agent' });
const maskedOnly = (check) => Object.assign(check, { applies: (s) => s.masked });

const checks = {
  async simple_query(s, db) {
    const { rows } = await db.query('SELECT phone, email, id_card, birth_date FROM crm.contacts WHERE id = 3');
    assert.equal(rows[0].phone, s.phone);
    assert.equal(rows[0].birth_date, s.birth);
    assert.equal(rows[0].email === EMAIL, !s.masked);
    assert.equal(rows[0].id_card === ID_CARD, !s.masked);
  },

  async several_statements_in_one_query(s, db) {
    const results = await db.query('SELECT 1 AS one; SELECT phone FROM crm.contacts WHERE id = 3; SELECT 2 AS two');
    assert.deepEqual(results.map((r) => r.rows[0]), [{ one: 1 }, { phone: s.phone }, { two: 2 }]);
  },

  async query_with_parameters(s, db) {
    const { rows } = await db.query('SELECT phone FROM crm.contacts WHERE id = $1 AND country = $2', [3, 'CN']);
    assert.equal(rows[0].phone, s.phone);
  },

  async named_statement_again_and_again(s, db) {
    for (let n = 0; n < 10; n++) {
      const { rows } = await db.query({ name: 'by-id', text: 'SELECT id, phone FROM crm.contacts WHERE id = $1', values: [3] });
      assert.equal(rows[0].phone, s.phone);
    }
  },

  async rows_as_arrays_and_binary(s, db) {
    const { rows } = await db.query({ text: 'SELECT amount, title FROM crm.opportunities WHERE id = $1', values: [2], rowMode: 'array' });
    assert.equal(Number(rows[0][0]), s.amount);
    const binary = await db.query({ text: 'SELECT phone FROM crm.contacts WHERE id = $1', values: [3], binary: true });
    assert.equal(binary.rows[0].phone.toString(), s.phone);
  },

  async fields_are_described_as_ever(s, db) {
    const oid = (await db.query("SELECT 'crm.contacts'::regclass::oid AS oid")).rows[0].oid;
    const { fields } = await db.query('SELECT full_name, phone FROM crm.contacts WHERE id = 3');
    assert.deepEqual(fields.map((f) => [f.name, f.tableID, f.dataTypeID, f.dataTypeModifier]), [['full_name', oid, 25, -1], ['phone', oid, 1043, 24]]);
    assert.deepEqual(fields.map((f) => f.columnID), [2, 4]);
  },

  async cursor_in_pieces(s, db) {
    const cursor = db.query(new Cursor('SELECT id, phone FROM crm.contacts WHERE id <= $1 ORDER BY id', [40]));
    const first = await cursor.read(3);
    const second = await cursor.read(100);
    await cursor.close();
    assert.equal(first[2].phone, s.phone);
    assert.equal(first.length + second.length, 40);
  },

  async copy_out(s, db) {
    const chunks = [];
    for await (const chunk of db.query(copy.to('COPY (SELECT id, phone FROM crm.contacts WHERE id = 3) TO STDOUT'))) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), `3\t${s.phone}\n`);
  },

  copy_in: agentsOnly(async (s, db) => {
    const lines = Array.from({ length: 300 }, (_, n) => `node-${n}\tfrom node\n`);
    await pipeline(Readable.from(lines), db.query(copy.from('COPY crm.tags (name, description) FROM STDIN')));
    const { rowCount } = await db.query("DELETE FROM crm.tags WHERE name LIKE 'node-%'");
    assert.equal(rowCount, 300);
  }),

  transaction_over_an_unprotected_table: agentsOnly(async (s, db) => {
    await db.query('BEGIN');
    const { rows } = await db.query('INSERT INTO crm.tags (name) VALUES ($1) RETURNING name', ['from node']);
    assert.equal(rows[0].name, 'from node');
    const error = await fails(db.query('INSERT INTO crm.tags (name) VALUES ($1)', ['from node']), '23505');
    assert.equal(error.constraint, 'tags_pkey');
    await fails(db.query('SELECT 1'), '25P02');
    await db.query('ROLLBACK');
    assert.equal((await db.query("SELECT FROM crm.tags WHERE name = 'from node'")).rowCount, 0);
  }),

  refusal: maskedOnly(async (s, db) => {
    const text = "SELECT query_to_xml('SELECT phone FROM crm.contacts', true, false, '')";
    for (const query of [text, { text, values: [] }, { name: 'refused', text }]) {
      const error = await fails(db.query(query), '42501');
      assert.match(error.message, /^pgveil: /);
      assert.ok(error.hint && error.detail, 'detail and hint');
    }
    assert.equal((await db.query('SELECT 1 AS one')).rows[0].one, 1);
  }),

  refusal_among_several_statements: maskedOnly(async (s, db) => {
    const error = await fails(db.query("SELECT 1; SELECT query_to_xml('SELECT 1', true, false, ''); SELECT 2"), '42501');
    assert.match(error.message, /^pgveil: /);
    assert.equal((await db.query('SELECT 1 AS one')).rows[0].one, 1);
  }),

  async errors_are_the_servers_own(s, db) {
    await fails(db.query('SELEC 1'), '42601');
    await fails(db.query('SELECT nothing FROM crm.tags'), '42703');
    await fails(db.query('SELECT 1/$1::int', [0]), '22012');
    await fails(db.query('SELECT $1::int', ['abc']), '22P02');
  },

  export_stopped: maskedOnly(async (s, db) => {
    assert.match((await db.query('SELECT phone FROM crm.contacts').catch((e) => e)).message, /pgveil/);
    let rows = 0;
    const error = await (async () => {
      const cursor = db.query(new Cursor('SELECT phone FROM crm.contacts'));
      for (;;) {
        const some = await cursor.read(30);
        rows += some.length;
        if (some.length === 0) return null;
      }
    })().catch((e) => e);
    assert.match(error?.message ?? 'all contacts came', /pgveil/);
    assert.ok(rows <= EXPORT_LIMIT, `${rows} rows`);
    assert.equal((await db.query('SELECT 1 AS one')).rows[0].one, 1);
  }),

  async pool_of_clients(s) {
    const pool = new Pool({ ...s.options, max: 4 });
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query('SELECT phone, $1::int AS n FROM crm.contacts WHERE id = 3', [n])));
    answers.forEach((answer, n) => assert.deepEqual(answer.rows[0], { phone: s.phone, n }));
    await pool.end();
  },

  async listen_and_notify(s, db) {
    const heard = new Promise((resolve) => db.once('notification', resolve));
    await db.query('LISTEN news');
    await db.query("NOTIFY news, 'hello'");
    // A trigger may send rows in it: a restricted role learns only that something was sent.
    assert.equal((await heard).payload, s.masked ? '' : 'hello');
  },
};

let passed = 0, failed = 0, skipped = 0;
for (const role of ['agent', 'dpo']) {
  const s = session(role);
  for (const [label, check] of Object.entries(checks)) {
    const name = `node/${role}/${label}`;
    if (check.applies && !check.applies(s)) continue;
    if (skips.has(name)) {
      skipped++;
      console.log(`skipped ${name}: ${skips.get(name)}`);
      continue;
    }
    const db = new Client(s.options);
    db.on('error', () => {});
    let timer;
    try {
      await db.connect();
      const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error('no answer within 60 s')), 60_000); });
      await Promise.race([check(s, db), late]);
      passed++;
    } catch (error) {
      failed++;
      console.log(`FAILED ${name}: ${String(error.message).split('\n').slice(0, 12).join(' ')}`);
    } finally {
      clearTimeout(timer);
      db.end().catch(() => {});
    }
  }
}
console.log(`node: ${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed ? 1 : 0);
