//! `pgveil audit search`: the records of somebody, or about something.
use std::convert::Infallible;
use std::io::{self, BufWriter};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::super::CliError;
use super::super::work::Work;
use super::Place;
use super::found::{Found, FoundFormat};
use crate::audit::glob::Glob;
use crate::audit::range::{Beyond, Bound, Span};
use crate::audit::search::{Filter, STOP, Search};
use crate::audit::{Event, Reader, VerdictRecord};

/// How often `--follow` looks for new records.
const LOOK: Duration = Duration::from_millis(200);
/// Records between two words about how far a search is.
const PROGRESS: u64 = 20_000;
/// Of so many records one is taken apart for its time alone, to find the end of the span.
const SAMPLE: u64 = 1000;

/// Find records by who, what and when
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil audit search --config pgveil.yaml --person ann --from 2026-11-01\n  \
    pgveil audit search --relation 'crm.*' --class phone --format csv > phone.csv\n  \
    pgveil audit search --dir var/audit --verdict refuse --limit 20\n  \
    pgveil audit search --would refuse --role agent       what a role on trial would have refused\n  \
    pgveil audit search --request 7f3a0001                every step of an export and what ran under it\n  \
    pgveil audit search --event login_failed --follow     as they come\n\n\
    `*` in a name stands for any run of characters. Options of one kind may be repeated: one of them must fit; those of\n\
    different kinds must all fit. Exit code 0 whether anything is found or not.")]
pub struct SearchArgs {
    #[command(flatten)]
    pub place: Place,
    /// Somebody by any name: the person, the application's user, the database user, who asked for an export or signed it
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub person: Vec<Glob>,
    /// A role of the policy
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub role: Vec<Glob>,
    /// A relation read or written: schema.name
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub relation: Vec<Glob>,
    /// A column used in any way: schema.table.column
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub column: Vec<Glob>,
    /// A class of data; of older records as the policy of the configuration names its columns
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub class: Vec<Glob>,
    /// What was decided
    #[arg(long, value_parser = PossibleValuesParser::new(VERDICTS))]
    pub verdict: Vec<String>,
    /// What would have been decided, of roles with `enforce: false`; `stop`: an export limit would have ended the result
    #[arg(long, value_parser = PossibleValuesParser::new(WOULD))]
    pub would: Vec<String>,
    /// What the record is about
    #[arg(long, value_parser = PossibleValuesParser::new(Event::ALL.map(Event::label)))]
    pub event: Vec<String>,
    /// The kind of statement: SELECT, UPDATE, ...
    #[arg(long, value_name = "WORD")]
    pub kind: Vec<String>,
    /// An export request: its steps, and the statements that ran under its grant
    #[arg(long, visible_alias = "grant", value_name = "ID", value_parser = glob)]
    pub request: Vec<Glob>,
    /// A database
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub database: Vec<Glob>,
    /// An application, by the name it gives
    #[arg(long, value_name = "NAME", value_parser = glob)]
    pub application: Vec<Glob>,
    /// A session, by its number
    #[arg(long, value_name = "NUMBER")]
    pub session: Vec<u64>,
    /// From this date, time (UTC) or record on
    #[arg(long, value_name = "TIME|NUMBER")]
    pub from: Option<Bound>,
    /// Up to, but without, this date, time (UTC) or record
    #[arg(long, value_name = "TIME|NUMBER")]
    pub to: Option<Bound>,
    /// Stop after so many
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
    /// Wait for more at the end
    #[arg(long)]
    pub follow: bool,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = FoundFormat::default())]
    pub format: FoundFormat,
}

const VERDICTS: [&str; 3] = [
    VerdictRecord::Pass.label(),
    VerdictRecord::Rewrite.label(),
    VerdictRecord::Refuse.label(),
];

const WOULD: [&str; 4] = [VERDICTS[0], VERDICTS[1], VERDICTS[2], STOP];

fn glob(text: &str) -> Result<Glob, Infallible> {
    text.parse()
}

impl SearchArgs {
    fn filter(&self) -> Filter {
        Filter {
            span: Span {
                from: self.from.clone(),
                to: self.to.clone(),
            },
            people: self.person.clone(),
            roles: self.role.clone(),
            relations: self.relation.clone(),
            columns: self.column.clone(),
            classes: self.class.clone(),
            verdicts: self.verdict.clone(),
            would: self.would.clone(),
            events: self.event.clone(),
            kinds: self.kind.clone(),
            requests: self.request.clone(),
            databases: self.database.clone(),
            applications: self.application.clone(),
            sessions: self.session.clone(),
        }
    }
}

/// # Errors
/// The configuration is wrong, or the segments cannot be read.
pub fn run(args: &SearchArgs) -> Result<ExitCode, CliError> {
    let (dir, classes) = args.place.dir_and_classes()?;
    let search = Search::new(args.filter(), classes);
    let mut reader = search.span().reader(&dir).map_err(CliError::environment)?;
    let mut found = Found::new(BufWriter::new(io::stdout().lock()), args.format);
    let work = Work::new("records read");
    let mut records = Records {
        search: &search,
        beyond: Beyond::default(),
        read: 0,
        left: args.limit.unwrap_or(u64::MAX),
    };
    let ran = loop {
        match records.run(&mut reader, &mut found, &work) {
            Ok(End::OfRecord) if args.follow => {
                if let Err(error) = found.flush() {
                    break Err(Fault::Write(error));
                }
                std::thread::sleep(LOOK);
            }
            Ok(_) => break found.flush().map_err(Fault::Write),
            Err(fault) => break Err(fault),
        }
    };
    work.done();
    match ran {
        // `| head` has enough.
        Err(Fault::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Fault::Write(error)) => {
            let message = format!("cannot write to standard output: {error}");
            return Err(CliError::Environment(message));
        }
        Err(Fault::Read(message)) => return Err(CliError::Environment(message)),
        Ok(()) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Where reading stopped.
enum End {
    OfRecord,
    OfSpan,
}

enum Fault {
    Read(String),
    Write(io::Error),
}

struct Records<'s> {
    search: &'s Search,
    beyond: Beyond,
    read: u64,
    /// Records that are still wanted.
    left: u64,
}

impl Records<'_> {
    fn run(
        &mut self,
        reader: &mut Reader,
        found: &mut Found<impl io::Write>,
        work: &Work,
    ) -> Result<End, Fault> {
        while self.left > 0 {
            let Some(line) = reader.next().map_err(unreadable)? else {
                return Ok(End::OfRecord);
            };
            self.read += 1;
            if self.read.is_multiple_of(PROGRESS) {
                work.at(self.read, format!("record {}", line.link.seq));
            }
            let sample = self.read.is_multiple_of(SAMPLE);
            if !sample && !self.search.may_match(line.bytes) {
                continue;
            }
            let Ok(entry) = line.entry() else { continue };
            if self.beyond.has_come(self.search.span(), &entry) {
                return Ok(End::OfSpan);
            }
            if self.search.matches(&entry) {
                work.aside(|| found.write(&line, &entry))
                    .map_err(Fault::Write)?;
                self.left -= 1;
            }
        }
        Ok(End::OfSpan)
    }
}

fn unreadable(error: crate::audit::read::ReadError) -> Fault {
    Fault::Read(format!(
        "{error}; `pgveil audit verify` says what is wrong with the record"
    ))
}
