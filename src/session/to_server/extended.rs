//! Bind, Execute, Describe, Close: messages that name what was decided on before.
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWrite;

use super::inner::{Now, runs_unknown};
use super::vetting::Vetted;
use super::{Flow, ToServer};
use crate::session::burst::READ_BUFFER;
use crate::session::charset::Charset;
use crate::session::denial::{self, ByName};
use crate::session::host::Host;
use crate::session::ledger::{Ledger, Sent};
use crate::session::messages::{self, Name, Target};
use crate::session::statements::{Arguments, Statement};
use crate::session::to_client::traps::meets;
use crate::wire::frame::{HELD_FRAME, Header, front};

impl<H: Host> ToServer<'_, H> {
    /// Of a Bind only the names are read; its parameters may be of any size and pass through.
    pub(super) async fn bind<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let seen = self.burst.seen(header);
        let (portal, statement) = match messages::read_bind_names(seen) {
            Ok(names) => names,
            Err(_) if seen.len() < READ_BUFFER.min(header.body()) => return Ok(Flow::Wait),
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let prepared = |ledger: &Ledger| ledger.prepared_as_sent(&statement);
        let names = [&portal, &statement];
        let found = self.meant_by(&names, prepared, |_, _| false, server);
        let (mut meant, mut denied) = found.await?;
        if self.restricted
            && let Some(prepared) = &meant
        {
            let vetted = match self.vet(&statement, prepared, None, None, server).await? {
                Ok(Vetted::Stands(vetted)) => Ok(vetted),
                Ok(Vetted::Changed(now)) => self.prepare_anew(&statement, now, server).await?,
                Err(refusal) => Err(refusal),
            };
            match vetted {
                Ok(vetted) => {
                    let claim = Arc::clone(&vetted.source.claim);
                    denied = self
                        .object_to_inner(&vetted, &claim, Now::Prepared, server)
                        .await?;
                    meant = Some(vetted);
                }
                Err(refusal) => denied = Some(refusal),
            }
            if let Some(meant) = &meant
                && denied.is_none()
            {
                let Some(objection) = self.object_to_settings(meant, header) else {
                    return Ok(Flow::Wait);
                };
                denied = objection;
            }
            let counts = |meant: &Statement| {
                let state = self.shared.lock();
                state.ledger.limits_of(meant).0.limits()
            };
            if let Some(meant) = &mut meant
                && counts(meant)
                && meant.protected()
            {
                let Some(arguments) = self.arguments(header) else {
                    return Ok(Flow::Wait);
                };
                meant.arguments = arguments;
                if denied.is_none() {
                    denied = self.bind_under_grant(meant, server).await?.err();
                }
            }
        }
        if let Some(meant) = &mut meant
            && self.records_values(meant)
        {
            let Some(values) = self.values(header) else {
                return Ok(Flow::Wait);
            };
            meant.values = values;
        }
        if let Some(meant) = &mut meant
            && looks_for_traps(meant)
        {
            let Some(values) = self.values(header) else {
                return Ok(Flow::Wait);
            };
            let charset = self.shared.lock().encodings.charset();
            meant.sprung = values.map_or_else(Vec::new, |values| sprung(meant, &values, charset));
        }
        if self.restricted && meant.is_none() && denied.is_none() {
            let spelled = self.spelled(&statement);
            denied = Some(self.no_statement(&statement, &spelled, ByName::Message));
        }
        if denied.is_some() {
            let mut instead = BytesMut::new();
            messages::put_bind(&mut instead, "", &self.shared.own_name);
            self.replace(header, &instead);
        } else {
            self.burst.forward(header);
        }
        self.push(Sent::Bind {
            portal,
            statement,
            meant,
            denied,
        });
        Ok(Flow::Next)
    }

    /// The statement is on record with its values.
    fn records_values(&self, statement: &Statement) -> bool {
        self.shared.lock().role_of(statement).full_text
    }

    /// What tells this Bind from another of the same statement; `None`: more of it must be read.
    fn arguments(&self, header: Header) -> Option<Arguments> {
        if header.length > HELD_FRAME {
            return Some(Arguments::Unseen);
        }
        let body = self.burst.body(header)?;
        Some(
            messages::bound_values(body).map_or(Arguments::Unseen, |values| {
                match messages::has_no_values(values) {
                    true => Arguments::None,
                    false => Arguments::Hash(Sha256::digest(values).into()),
                }
            }),
        )
    }

    /// The parameters for the record, unless there is more of them than is held; `None`: more of it must be read.
    pub(super) fn values(&self, header: Header) -> Option<Option<Arc<[u8]>>> {
        if header.length > HELD_FRAME {
            return Some(None);
        }
        let body = self.burst.body(header)?;
        Some(messages::bound_values(body).ok().map(Arc::from))
    }

    pub(super) async fn execute<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let portal = match messages::read_execute(body) {
            Ok(portal) => portal,
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let bound = |ledger: &Ledger| ledger.portal_as_sent(&portal);
        let names = [&portal];
        let found = self.meant_by(&names, bound, runs_unknown, server);
        let (runs, mut denied) = found.await?;
        if self.restricted
            && let Some(statement) = &runs
        {
            denied = match self.host.can_record() {
                true => self.object_to_open(&portal, statement, server).await?,
                false => Some(denial::unrecordable()),
            };
        }
        if self.restricted && runs.is_none() && denied.is_none() {
            denied = Some(denial::no_portal(&self.spelled(&portal), ByName::Message));
        }
        let mut waits = false;
        if denied.is_none()
            && let Some(runs) = &runs
        {
            match self.waits_for_count(runs) {
                Ok(is_counted) => waits = is_counted,
                Err(refusal) => denied = Some(refusal),
            }
        }
        if denied.is_some() {
            let mut instead = BytesMut::new();
            messages::put_execute(&mut instead, &self.shared.own_name);
            self.replace(header, &instead);
        } else {
            if let Some(statement) = &runs {
                self.check_description(&portal, statement);
            }
            let hidden = runs.as_ref().is_some_and(Statement::hides_rows);
            // A limit is about rows that the client asked for; these are none of them. What stores rows is counted by its
            // command tag, which comes behind the last row.
            match self
                .burst
                .body(header)
                .filter(|_| hidden || waits)
                .and_then(messages::without_limit)
            {
                Some(unlimited) => self.replace(header, &unlimited),
                None => self.burst.forward(header),
            }
            if let Some(statement) = &runs
                && let Some(plan) = statement.plan()
            {
                let mut state = self.shared.lock();
                state.foresee(plan, &[]);
                state.make(plan, &statement.source.claim);
            }
        }
        let names = runs.filter(Statement::names_something);
        self.push(Sent::Execute {
            portal,
            names,
            denied,
        });
        if waits {
            self.await_count(server).await?;
        }
        Ok(Flow::Next)
    }

    /// A name in UTF-8.
    fn spelled(&self, name: &Name) -> String {
        let charset = self.shared.lock().encodings.charset();
        charset.decode_lossy(name.bytes()).into_owned()
    }

    /// Rows of protected relations come with a description, asked for by the client or by pgveil: by it they are held
    /// against the policy. COPY has none; its rows are those of a query whose text was judged.
    fn check_description(&mut self, portal: &Name, runs: &Statement) {
        let described = {
            let state = self.shared.lock();
            let inner = state.ledger.names.inner_of(Some(portal), runs);
            let governing = inner.as_ref().map_or(runs, |inner| &inner.statement);
            runs.refusal().is_some()
                || !governing.protected()
                || state.ledger.is_described(portal, governing)
        };
        if !self.restricted || described {
            return;
        }
        let mut question = BytesMut::new();
        messages::put_describe(&mut question, b'P', portal.bytes());
        self.burst.put(&question);
        self.push(Sent::Check(portal.clone()));
    }

    pub(super) async fn describe_or_close<W: AsyncWrite + Unpin>(
        &mut self,
        header: Header,
        server: &mut W,
    ) -> io::Result<Flow> {
        let Some(body) = self.burst.body(header) else {
            return Ok(Flow::Wait);
        };
        let target = match messages::read_target(body) {
            Ok(target) => target,
            Err(malformed) => return Ok(self.malformed(header, malformed)),
        };
        let (Target::Statement(name) | Target::Portal(name)) = &target;
        if !self.tells_apart(&[name], server).await? {
            // Nothing could be given to it.
            return Ok(super::violated(
                "pgveil: a name of a statement or portal that cannot be told from others in the server's encoding",
            ));
        }
        self.push(match header.tag {
            front::DESCRIBE => Sent::Describe(target),
            _ => Sent::Close(target),
        });
        self.burst.forward(header);
        Ok(Flow::Next)
    }
}

/// A parameter may be what names a honeytoken row.
fn looks_for_traps(statement: &Statement) -> bool {
    let plan = statement.plan();
    plan.is_some_and(|plan| plan.columns.traps.iter().any(|known| known.sought))
}

/// The honeytoken rows that parameters name.
fn sprung(statement: &Statement, values: &[u8], charset: Charset) -> Vec<Arc<str>> {
    let values = messages::all_values(values).unwrap_or_default();
    let uses = statement.plan().map_or(&[][..], |plan| &plan.columns.traps);
    uses.iter()
        .filter(|known| known.sought)
        .filter(|known| {
            let mut values = values.iter().flatten();
            values.any(|value| meets(&known.trap, value, charset))
        })
        .map(|known| Arc::clone(&known.trap.name))
        .collect()
}
