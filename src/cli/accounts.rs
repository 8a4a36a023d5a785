//! `pgveil accounts`: who may sign in to the console.
//!
//! A running `pgveil serve` holds the state file; then, and with `--url`, these commands call its API, as an administrator
//! with a token. Otherwise they open the file themselves, which is how the first account is made.
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::console_client::{ConsoleArgs, ConsoleClient, segment, table};
use super::{CliError, OutputFormat, print};
use crate::admin::accounts::totp::TotpSecret;
use crate::admin::accounts::{AccountError, Accounts};
use crate::admin::api::{account_json, added};
use crate::audit::{Event, Record, Spool};
use crate::config::{self, Settings};
use crate::export::store;

/// Manage who may sign in to the approvals console
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = "Examples:\n  \
    pgveil accounts add lena --groups legal\n  \
    pgveil accounts totp lena\n  \
    pgveil accounts token lena\n\n\
    The first account is made before `pgveil serve` runs: pgveil accounts add root --groups admin\n\
    While it runs, these commands call it, as an administrator whose token is in PGVEIL_TOKEN.")]
pub enum AccountsCommand {
    Add(AddArgs),
    List(ListArgs),
    Groups(GroupsArgs),
    Passwd(PasswdArgs),
    Totp(TotpArgs),
    Token(TokenArgs),
    Remove(RemoveArgs),
}

#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    config: PathBuf,
    #[command(flatten)]
    console: ConsoleArgs,
}

/// Make an account; the password is read from the terminal or the first line of standard input
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil accounts add lena --groups legal\n  \
    pgveil accounts add dana --person dana.k --groups dpo,admin")]
pub struct AddArgs {
    /// The name to sign in with
    name: String,
    /// The person, as the policy names them [default: the account's name]
    #[arg(long)]
    person: Option<String>,
    /// Approver groups; `admin` sees everything and manages accounts
    #[arg(long, value_delimiter = ',')]
    groups: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// List accounts
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil accounts list --format json")]
pub struct ListArgs {
    /// How accounts are printed
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    common: Common,
}

/// Put an account into other groups
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil accounts groups lena legal,admin")]
pub struct GroupsArgs {
    /// The account
    name: String,
    /// All its groups from now on
    #[arg(value_delimiter = ',')]
    groups: Vec<String>,
    #[command(flatten)]
    common: Common,
}

/// Set another password, read from the terminal or standard input; ends sessions, tokens and a lockout
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil accounts passwd lena")]
pub struct PasswdArgs {
    /// The account
    name: String,
    #[command(flatten)]
    common: Common,
}

/// Set up the second factor: prints a secret, then reads the code that an authenticator makes of it
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil accounts totp lena\n  \
    pgveil accounts totp lena --remove        for somebody who has lost the device")]
pub struct TotpArgs {
    /// The account
    name: String,
    /// Take the second factor away
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    common: Common,
}

/// Make a token for programs and print it once; while `pgveil serve` runs, it asks for the account's password and code
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil accounts token lena --label ci --days 30")]
pub struct TokenArgs {
    /// The account
    name: String,
    /// What it is for
    #[arg(long, default_value = "")]
    label: String,
    /// How long it holds
    #[arg(long, default_value_t = 30)]
    days: u32,
    #[command(flatten)]
    common: Common,
}

/// Remove an account, its sessions and its tokens
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  pgveil accounts remove lena")]
pub struct RemoveArgs {
    /// The account
    name: String,
    #[command(flatten)]
    common: Common,
}

/// # Errors
/// The store or the console cannot be used, or the answer is no.
pub async fn run(command: AccountsCommand) -> Result<ExitCode, CliError> {
    match command {
        AccountsCommand::Add(args) => add(args).await?,
        AccountsCommand::List(args) => list(args).await?,
        AccountsCommand::Groups(args) => groups(args).await?,
        AccountsCommand::Passwd(args) => passwd(args).await?,
        AccountsCommand::Totp(args) => totp(args).await?,
        AccountsCommand::Token(args) => token(args).await?,
        AccountsCommand::Remove(args) => remove(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(args: AddArgs) -> Result<(), CliError> {
    let target = Target::open(&args.common).await?;
    let password = new_password()?;
    let person = args.person.as_deref().unwrap_or(&args.name);
    match &target {
        Target::File(file) => {
            let accounts = &file.accounts;
            let account = accounts
                .add(&args.name, person, &args.groups, &password)
                .await
                .map_err(refused)?;
            file.note(added(&account))?;
        }
        Target::Console(client) => {
            let body = json!({
                "name": args.name, "person": person, "groups": args.groups, "password": password,
            });
            client.call(Method::POST, "/accounts", Some(&body)).await?;
        }
    }
    let name = &args.name;
    print(&format!(
        "account {name} added; set up its second factor with: pgveil accounts totp {name}\n"
    ))
}

async fn list(args: ListArgs) -> Result<(), CliError> {
    let accounts: Vec<Value> = match Target::open(&args.common).await? {
        Target::File(file) => {
            let accounts = file.accounts.list().await.map_err(CliError::environment)?;
            accounts.iter().map(account_json).collect()
        }
        Target::Console(client) => {
            let mut answer = client.call(Method::GET, "/accounts", None).await?;
            match answer.get_mut("accounts").map(Value::take) {
                Some(Value::Array(accounts)) => accounts,
                _ => Vec::new(),
            }
        }
    };
    if args.format == OutputFormat::Json {
        return print(&format!("{}\n", Value::Array(accounts)));
    }
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|account| {
            let text = |key: &str| match account.get(key) {
                Some(Value::String(text)) => text.clone(),
                Some(Value::Array(values)) => {
                    let values: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                    values.join(",")
                }
                Some(Value::Bool(true)) => "yes".to_owned(),
                Some(Value::Bool(false)) => "no".to_owned(),
                _ => "never".to_owned(),
            };
            ["name", "person", "groups", "second_factor", "last_login"]
                .map(text)
                .to_vec()
        })
        .collect();
    let header = ["account", "person", "groups", "second factor", "last login"];
    print(&table(&header, &rows))
}

async fn groups(args: GroupsArgs) -> Result<(), CliError> {
    let name = segment(&args.name)?;
    match Target::open(&args.common).await? {
        Target::File(file) => {
            let changed = file.accounts.set_groups(name, &args.groups).await;
            changed.map_err(refused)?;
            file.note(format!("account {name}: groups {}", args.groups.join(", ")))?;
        }
        Target::Console(client) => {
            let path = format!("/accounts/{name}/groups");
            let body = json!({ "groups": args.groups });
            client.call(Method::POST, &path, Some(&body)).await?;
        }
    }
    print(&format!(
        "account {name} is in: {}\n",
        args.groups.join(", ")
    ))
}

async fn passwd(args: PasswdArgs) -> Result<(), CliError> {
    let name = segment(&args.name)?;
    let target = Target::open(&args.common).await?;
    let password = new_password()?;
    match &target {
        Target::File(file) => {
            let changed = file.accounts.set_password(name, &password).await;
            changed.map_err(refused)?;
            file.note(format!("account {name}: password set"))?;
        }
        Target::Console(client) => {
            let path = format!("/accounts/{name}/password");
            let body = json!({ "password": password });
            client.call(Method::POST, &path, Some(&body)).await?;
        }
    }
    print(&format!("the password of {name} is set\n"))
}

async fn totp(args: TotpArgs) -> Result<(), CliError> {
    let name = segment(&args.name)?;
    let target = Target::open(&args.common).await?;
    let path = format!("/accounts/{name}/factor");
    if args.remove {
        match &target {
            Target::File(file) => {
                file.accounts.disenrol(name).await.map_err(refused)?;
                file.note(format!("account {name}: second factor taken away"))?;
            }
            Target::Console(client) => {
                client.call(Method::DELETE, &path, None).await?;
            }
        }
        return print(&format!("the second factor of {name} is gone\n"));
    }
    let secret = TotpSecret::new().map_err(CliError::environment)?;
    let url = secret.url(name).unwrap_or_default();
    print(&format!("{url}\nsecret {}\n", secret.expose()))?;
    let code = line("the code that the authenticator shows now: ", Echo::On)?;
    match &target {
        Target::File(file) => {
            let enrolled = file.accounts.enrol(name, &secret, code.trim()).await;
            enrolled.map_err(refused)?;
            file.note(format!("account {name}: second factor set up"))?;
        }
        Target::Console(client) => {
            let body = json!({ "secret": secret.expose(), "code": code.trim() });
            client.call(Method::POST, &path, Some(&body)).await?;
        }
    }
    print(&format!("the second factor of {name} is set up\n"))
}

async fn token(args: TokenArgs) -> Result<(), CliError> {
    let name = segment(&args.name)?;
    let token = match Target::open(&args.common).await? {
        Target::File(file) => {
            let issued = file.accounts.issue(name, &args.label, args.days).await;
            let issued = issued.map_err(refused)?;
            file.note(format!("account {name}: token {} issued", issued.line.id))?;
            issued.token
        }
        Target::Console(client) => {
            let body = json!({
                "name": name,
                "password": line("password: ", Echo::Off)?,
                "code": line("code of the second factor, if there is one: ", Echo::On)?.trim(),
                "label": args.label,
                "days": args.days,
            });
            let answer = client.call(Method::POST, "/tokens", Some(&body)).await?;
            let token = answer.get("token").and_then(Value::as_str);
            token.unwrap_or_default().to_owned()
        }
    };
    print(&format!("{token}\n"))
}

async fn remove(args: RemoveArgs) -> Result<(), CliError> {
    let name = segment(&args.name)?;
    match Target::open(&args.common).await? {
        Target::File(file) => {
            file.accounts.remove(name).await.map_err(refused)?;
            file.note(format!("account {name} removed"))?;
        }
        Target::Console(client) => {
            let path = format!("/accounts/{name}");
            client.call(Method::DELETE, &path, None).await?;
        }
    }
    print(&format!("account {name} is removed\n"))
}

fn refused(error: AccountError) -> CliError {
    CliError::Environment(error.to_string())
}

/// Where accounts are changed.
enum Target {
    File(Box<File>),
    Console(ConsoleClient),
}

/// The state file, and the audit record that changes of it stand on.
struct File {
    accounts: Accounts,
    spool: Spool,
}

impl File {
    fn note(&self, message: String) -> Result<(), CliError> {
        let record = Record {
            message: Some(format!("{message} (on the command line)")),
            ..Record::new(Event::Console, SystemTime::now())
        };
        self.spool
            .append(&record)
            .map(|_| ())
            .map_err(CliError::environment)
    }
}

impl Target {
    async fn open(common: &Common) -> Result<Self, CliError> {
        if let Some(address) = common.console.address() {
            return ConsoleClient::new(&address, &common.console).map(Target::Console);
        }
        let settings = config::load(&common.config)?;
        // The record first: it is locked by whoever serves, and no change goes without it.
        match super::serve::spool::open_spool(&settings) {
            Ok(spool) => {
                let store = store::open(&settings.state)
                    .await
                    .map_err(CliError::environment)?;
                Ok(Target::File(Box::new(File {
                    accounts: Accounts::new(store),
                    spool,
                })))
            }
            Err(error) => match running(&settings) {
                Some(address) => ConsoleClient::new(&address, &common.console).map(Target::Console),
                None => Err(CliError::Environment(format!(
                    "{error}; pgveil seems to run, and it has no console that could be asked instead (`console: {{ listen }}`)"
                ))),
            },
        }
    }
}

/// The console of a proxy that seems to run.
fn running(settings: &Settings) -> Option<String> {
    let console = settings.console.as_ref()?;
    if let Some(url) = &console.url {
        return Some(url.clone());
    }
    let scheme = match console.tls {
        Some(_) => "https",
        None => "http",
    };
    Some(format!("{scheme}://{}", console.listen))
}

fn new_password() -> Result<String, CliError> {
    let password = line("new password: ", Echo::Off)?;
    if std::io::stdin().is_terminal() && line("again: ", Echo::Off)? != password {
        return Err(CliError::Configuration(
            "the two passwords differ".to_owned(),
        ));
    }
    Ok(password)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    /// What is typed is not shown.
    Off,
}

/// One line from the terminal, with a prompt, or from standard input.
fn line(prompt: &str, echo: Echo) -> Result<String, CliError> {
    let terminal = std::io::stdin().is_terminal();
    let hidden = terminal && echo == Echo::Off;
    if terminal {
        eprint!("{prompt}");
        let _ = std::io::stderr().flush();
    }
    if hidden {
        shown(false)?;
    }
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    if hidden {
        shown(true)?;
        eprintln!();
    }
    match read {
        Ok(0) => Err(CliError::Configuration(format!(
            "standard input has ended where a line was expected ({})",
            prompt.trim_end_matches([':', ' '])
        ))),
        Ok(_) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(CliError::Environment(format!(
            "standard input cannot be read: {error}"
        ))),
    }
}

/// Whether the terminal shows what is typed.
fn shown(on: bool) -> Result<(), CliError> {
    let word = if on { "echo" } else { "-echo" };
    let ran = Command::new("stty")
        .arg(word)
        .stdin(Stdio::inherit())
        .status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        _ => Err(CliError::Environment(
            "the terminal cannot be kept from showing the password (stty); pipe it in instead"
                .to_owned(),
        )),
    }
}
