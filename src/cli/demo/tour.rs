//! The tour: each step shows something and checks that it is as it should be.
use super::DemoError;
use super::postgres::{DATABASE, Server};
use super::proxy::{AGENT, DPO, FINANCE, Login, Proxy};
use super::record;
use super::screen::Screen;
use super::signers::SIGNERS;

/// What everybody asks first.
const CUSTOMERS: &str = "
  SELECT c.full_name, c.phone, c.email, c.id_card, c.birth_date, o.amount
  FROM crm.contacts c JOIN crm.opportunities o ON o.contact_id = c.id
  WHERE c.country IN ('CN', 'ES') ORDER BY o.id LIMIT 6";

/// The raw values of [`CUSTOMERS`] that nobody but the data protection officer may see.
const SECRETS: &str = "SELECT unnest(ARRAY[phone, email, id_card]) FROM (
  SELECT c.phone, c.email, c.id_card
  FROM crm.contacts c JOIN crm.opportunities o ON o.contact_id = c.id
  WHERE c.country IN ('CN', 'ES') ORDER BY o.id LIMIT 6) AS shown";

/// The amounts of [`CUSTOMERS`].
const AMOUNTS: &str = "
  SELECT o.amount
  FROM crm.contacts c JOIN crm.opportunities o ON o.contact_id = c.id
  WHERE c.country IN ('CN', 'ES') ORDER BY o.id LIMIT 6";

/// The same data under other names: a view, folded into JSON.
const ANOTHER_WAY: &str =
    "SELECT row_to_json(d) FROM crm.contact_directory d WHERE d.id IN (3, 6) ORDER BY d.id";
const ANOTHER_WAY_SECRETS: &str =
    "SELECT unnest(ARRAY[phone, email]) FROM crm.contacts WHERE id IN (3, 6)";

/// Companies of two regions; the office that may see the revenue of those in the EU is elsewhere (policies/crm.yaml, `regions`).
const REVENUES: &str = "
  SELECT name, country, annual_revenue FROM crm.companies
  WHERE country IN ('CN', 'DE') ORDER BY country DESC, id LIMIT 3";
const REVENUES_ABROAD: &str =
    "SELECT annual_revenue FROM crm.companies WHERE country = 'DE' ORDER BY id LIMIT 3";
const REVENUES_HERE: &str = "
  SELECT name, country, annual_revenue FROM crm.companies
  WHERE country = 'CN' ORDER BY id LIMIT 3";
const SHOWN_HERE: &str =
    "SELECT annual_revenue FROM crm.companies WHERE country = 'CN' ORDER BY id LIMIT 3";

/// "Download the customer list to Excel".
const EXPORT: &str = "SELECT full_name, phone, email FROM crm.contacts";

const REASON: &str = "SET pgveil.reason = 'yearly letter, ticket 4711'";

/// A function that runs SQL of its own, out of sight of whoever looks at this statement.
const AROUND: &str = "SELECT query_to_xml('SELECT phone FROM crm.contacts', true, false, '')";

/// What a program printed, and whether it was content.
struct Shown {
    success: bool,
    text: String,
}

/// Gives the tour. Returns what was not as it should be.
pub async fn give(
    server: &Server,
    proxy: &Proxy,
    tokens: &[String],
    screen: &mut Screen,
) -> Result<Vec<String>, DemoError> {
    let mut tour = Tour {
        server,
        proxy,
        screen,
        failures: Vec::new(),
    };
    tour.one_query_three_views().await?;
    tour.another_way_to_ask().await?;
    tour.seen_from_elsewhere().await?;
    if let Some(request) = tour.an_export_stopped().await? {
        tour.two_people_sign(&request, tokens).await?;
    }
    tour.a_statement_refused().await?;
    tour.the_record().await?;
    tour.the_metrics().await?;
    Ok(tour.failures)
}

struct Tour<'a> {
    server: &'a Server,
    proxy: &'a Proxy,
    screen: &'a mut Screen,
    failures: Vec<String>,
}

impl Tour<'_> {
    async fn one_query_three_views(&mut self) -> Result<(), DemoError> {
        let secrets = self.secrets(SECRETS).await?;
        self.screen.step(
            "What an agent sees: numbers shortened, birth dates as years, amounts in steps",
        )?;
        let agent = self.psql(AGENT, &["-c", CUSTOMERS]).await?;
        self.expect(
            agent.success && agent.text.contains("(6 rows)"),
            "the agent gets six rows",
        );
        self.expect_none_of(&secrets, &agent, "the agent's result");
        self.expect(
            agent.text.contains("****"),
            "the agent's phone numbers are masked, not gone",
        );

        self.screen.step("What a finance clerk sees of the same query: amounts to the cent, no way to call anybody")?;
        let finance = self.psql(FINANCE, &["-c", CUSTOMERS]).await?;
        let amounts = self.secrets(AMOUNTS).await?;
        self.expect(finance.success, "the finance clerk's query runs");
        self.expect_none_of(&secrets, &finance, "the finance clerk's result");
        self.expect(
            amounts.iter().all(|amount| finance.text.contains(amount)),
            "the finance clerk sees amounts to the cent",
        );

        self.screen
            .step("What the data protection officer sees: everything")?;
        let dpo = self.psql(DPO, &["-c", CUSTOMERS]).await?;
        self.expect(
            dpo.success && secrets.iter().all(|secret| dpo.text.contains(secret)),
            "the DPO sees all values unmasked",
        );
        Ok(())
    }

    async fn another_way_to_ask(&mut self) -> Result<(), DemoError> {
        self.screen
            .step("The agent asks in another way: a view over the table, whole rows as JSON")?;
        let secrets = self.secrets(ANOTHER_WAY_SECRETS).await?;
        let shown = self.psql(AGENT, &["-A", "-t", "-c", ANOTHER_WAY]).await?;
        self.expect(
            shown.success && shown.text.contains("full_name"),
            "the agent may ask for rows as JSON",
        );
        self.expect_none_of(&secrets, &shown, "the agent's JSON");
        Ok(())
    }

    async fn seen_from_elsewhere(&mut self) -> Result<(), DemoError> {
        self.screen.step(
            "Where somebody sits counts, too: from outside the EU companies there are to be seen, and their revenue is not",
        )?;
        let abroad = self.secrets(REVENUES_ABROAD).await?;
        let shown = self.psql(FINANCE, &["-c", REVENUES]).await?;
        self.expect(
            shown.success && shown.text.contains("(3 rows)") && shown.text.contains("| DE"),
            "companies in the EU are there",
        );
        self.expect(
            !abroad.is_empty() && !abroad.iter().any(|value| shown.text.contains(value)),
            "their revenue is not shown from elsewhere",
        );
        let here = self.secrets(SHOWN_HERE).await?;
        let shown = self.psql(FINANCE, &["-c", REVENUES_HERE]).await?;
        self.expect(
            shown.success && here.iter().all(|value| shown.text.contains(value)),
            "that of other companies is as the finance clerk may see it",
        );
        let dir = self.proxy.audit_dir();
        let record = record::last(dir, "statement")?;
        self.expect(
            record.is_some_and(|record| record.to_string().contains("[\"eu\"]")),
            "the record says that the clerk is outside the EU",
        );
        Ok(())
    }

    /// The request that waits for signatures.
    async fn an_export_stopped(&mut self) -> Result<Option<String>, DemoError> {
        self.screen
            .step("An export stopped: the agent asks for all 5,000 contacts")?;
        let shown = self.psql(AGENT, &["-c", REASON, "-c", EXPORT]).await?;
        self.expect(
            !shown.success && shown.text.contains("pgveil:"),
            "the agent's export ends in an error of pgveil's",
        );
        self.expect(
            !shown.text.contains("(5000 rows)"),
            "the agent does not get 5,000 rows",
        );
        let request = shown.text.split_once("export request ");
        let request = request.and_then(|(_, rest)| rest.get(..8));
        self.expect(request.is_some(), "the error names a request");
        Ok(request.map(str::to_owned))
    }

    async fn two_people_sign(&mut self, request: &str, tokens: &[String]) -> Result<(), DemoError> {
        self.screen.step(&format!(
            "Legal and data protection sign it, here on the command line; the console does the same ({})",
            self.proxy.console_url()
        ))?;
        for (index, (signer, token)) in SIGNERS.iter().zip(tokens).enumerate() {
            let comment = format!("checked by {}", signer.group);
            // It was opened, and whoever came before has signed.
            let seen = (index + 1).to_string();
            let words = ["approve", request, "--seen", &seen, "--comment", &comment];
            self.screen.command(&format!(
                "PGVEIL_TOKEN={}... pgveil approvals approve {request} --seen {seen} --comment \"{comment}\"",
                token.get(..8).unwrap_or_default()
            ))?;
            let output = self.proxy.approvals(&words, token).await?;
            let shown = self.show(&output)?;
            self.expect(shown.success, &format!("{} signs", signer.name));
        }
        self.screen.step(
            "The agent runs the same statement again: the export goes on, masked, and once",
        )?;
        let conninfo = self.proxy.conninfo(AGENT);
        self.screen
            .command(&format!("psql \"{conninfo}\" -At -c \"{EXPORT}\" | wc -l"))?;
        for (rows, what) in [
            (Some(5000), "the granted export has 5,000 rows"),
            (None, "a grant is used once"),
        ] {
            let mut psql = self.server.psql();
            psql.args(["-A", "-t", "-d", &conninfo, "-c", EXPORT])
                .env("PGPASSWORD", AGENT.password);
            let output = psql.output().await.map_err(|source| DemoError::Spawn {
                program: "psql".into(),
                source,
            })?;
            let text = String::from_utf8_lossy(&output.stdout);
            let lines = text.lines().count();
            if let Some(rows) = rows {
                self.screen.output(&lines.to_string())?;
                self.expect(output.status.success() && lines == rows, what);
                self.expect(text.contains("****"), "the export is masked");
            } else {
                self.expect(!output.status.success(), what);
            }
        }
        Ok(())
    }

    async fn a_statement_refused(&mut self) -> Result<(), DemoError> {
        self.screen
            .step("A statement refused, with the way out in its hint")?;
        let shown = self
            .psql(AGENT, &["-v", "VERBOSITY=verbose", "-c", AROUND])
            .await?;
        self.expect(
            !shown.success && shown.text.contains("42501") && shown.text.contains("pgveil:"),
            "query_to_xml is refused with SQLSTATE 42501",
        );
        self.expect(shown.text.contains("HINT:"), "the refusal has a hint");
        Ok(())
    }

    async fn the_record(&mut self) -> Result<(), DemoError> {
        self.screen.step("The audit record of the stopped export")?;
        let dir = self.proxy.audit_dir();
        self.screen.command(&format!(
            "grep '\"event\":\"export_stop\"' {}/*.jsonl | tail -n 1",
            dir.display()
        ))?;
        match record::last(dir, "export_stop")? {
            Some(record) => {
                self.screen.output(&record.to_string())?;
                self.expect(
                    record.field("db_user") == Some(AGENT.user),
                    "the record names the agent",
                );
            }
            None => self.expect(false, "the stopped export is on record"),
        }

        self.screen.step("Nobody has touched the records")?;
        self.screen.command(&self.proxy.verify_command_line())?;
        let output = self.proxy.verify().await?;
        let shown = self.show(&output)?;
        self.expect(shown.success, "the chain of audit records verifies");
        Ok(())
    }

    async fn the_metrics(&mut self) -> Result<(), DemoError> {
        const NAMES: [&str; 4] = [
            "pgveil_statements_total",
            "pgveil_rows_total",
            "pgveil_refusals_total",
            "pgveil_export_stops_total",
        ];
        self.screen.step("The same in numbers, for Prometheus")?;
        self.screen.command(&format!("curl -s http://{}/metrics | grep -E '^pgveil_(statements|rows|refusals|export_stops)_total'", self.proxy.admin()))?;
        let metrics = self.proxy.metrics().await?;
        let lines: Vec<&str> = metrics
            .lines()
            .filter(|line| NAMES.iter().any(|name| line.starts_with(name)))
            .collect();
        self.screen.output(&lines.join("\n"))?;
        self.expect(
            lines
                .iter()
                .any(|line| line.starts_with("pgveil_export_stops_total") && !line.ends_with(" 0")),
            "the stopped export is counted",
        );
        self.expect(
            lines
                .iter()
                .any(|line| line.starts_with("pgveil_refusals_total") && !line.ends_with(" 0")),
            "the refusal is counted",
        );
        Ok(())
    }

    /// Runs psql through pgveil as that person and shows what it prints, as the reader would see it.
    async fn psql(&mut self, login: &Login, args: &[&str]) -> Result<Shown, DemoError> {
        let conninfo = self.proxy.conninfo(login);
        let quoted: Vec<String> = args
            .iter()
            .map(|arg| {
                if arg.starts_with('-') {
                    (*arg).to_owned()
                } else {
                    format!("\"{arg}\"")
                }
            })
            .collect();
        self.screen
            .command(&format!("psql \"{conninfo}\" {}", quoted.join(" ")))?;
        let mut psql = self.server.psql();
        psql.arg("-d")
            .arg(&conninfo)
            .args(args)
            .env("PGPASSWORD", login.password);
        let output = psql.output().await.map_err(|source| DemoError::Spawn {
            program: "psql".into(),
            source,
        })?;
        self.show(&output)
    }

    fn show(&mut self, output: &std::process::Output) -> Result<Shown, DemoError> {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        self.screen.output(&text)?;
        Ok(Shown {
            success: output.status.success(),
            text,
        })
    }

    /// Values as the server holds them, asked for past pgveil.
    async fn secrets(&self, query: &str) -> Result<Vec<String>, DemoError> {
        let text = self.server.superuser(DATABASE, &["-c", query]).await?;
        Ok(text
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn expect_none_of(&mut self, secrets: &[String], shown: &Shown, what: &str) {
        self.expect(
            !secrets.is_empty(),
            &format!("there is something to hide in {what}"),
        );
        let leaked = secrets
            .iter()
            .filter(|secret| shown.text.contains(secret.as_str()))
            .count();
        self.expect(
            leaked == 0,
            &format!(
                "{what} holds no raw phone number, address or identity card (it holds {leaked})"
            ),
        );
    }

    fn expect(&mut self, holds: bool, what: &str) {
        if !holds {
            self.failures.push(what.to_owned());
        }
    }
}
