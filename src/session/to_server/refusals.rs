//! Why a statement is not run that no rule of the role is against: it cannot be told what it would do.
use crate::session::denial;
use crate::session::host::Unavailable;
use crate::sql::plan::{Reason, Refusal};

pub(super) fn setting_refusal() -> Refusal {
    denial::refusal(
        Reason::Setting,
        "the search_path in force here is not known before the statement runs",
        "names are resolved along the session's search_path before a statement is let through",
        "Send what changes settings in a message or batch of its own: end it with Sync, or send the statements separately.",
    )
}

/// EXECUTE of a statement in which a parameter names a setting.
pub(super) fn unnamed_setting_refusal() -> Refusal {
    denial::refusal(
        Reason::Setting,
        "EXECUTE of a prepared statement in which a parameter of set_config names the setting",
        "the name is read in the message that binds the statement",
        "Send Bind and Execute, or name the setting in the statement.",
    )
}

pub(super) fn encoding_refusal() -> Refusal {
    denial::refusal(
        Reason::Encoding,
        "the statement holds bytes that are not valid in the session's client_encoding",
        "statements of this role are decoded before they are analysed; what does not come back byte for byte is not run",
        "Send valid text, SET client_encoding TO 'UTF8', or send such values as parameters.",
    )
}

pub(super) fn folding_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "the statement holds a name that the server, whose encoding is not UTF8, may read as another one",
        "the server makes capital letters of unquoted names small and cuts names off by the bytes of its own encoding",
        "Quote names with capital letters outside of ASCII, and keep names below 64 bytes of UTF-8.",
    )
}

pub(super) fn unwritable_refusal() -> Refusal {
    denial::refusal(
        Reason::Encoding,
        "the masked form of the statement cannot be written in the session's client_encoding",
        "names of columns or texts of masks hold characters that the encoding lacks",
        "SET client_encoding TO 'UTF8'.",
    )
}

/// A statement that was planned for a grant is run by a message that uses the grant.
pub(super) fn granted_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "the prepared statement runs under a grant and not by EXECUTE",
        "a statement that was prepared under a grant without masks is bound by the extended protocol",
        "Send the statement itself, or bind it.",
    )
}

pub(super) fn unsettled_explain() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "EXPLAIN of a prepared statement that is not prepared yet",
        "whether EXPLAIN is allowed depends on what the statement reads",
        "Wait for the answer to PREPARE or Parse before it is explained.",
    )
}

pub(super) fn unsettled_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "it cannot be told what the name of a prepared statement or portal stands for",
        "it was given in a message that has not been answered, behind a COPY that may fail, or a transaction ends before it",
        "Wait for the answers to COPY, COMMIT or ROLLBACK before what was sent with it is named.",
    )
}

/// PREPARE or DEALLOCATE of it has failed, at the commit perhaps, which comes when it has been carried out.
pub(super) fn doubtful_refusal(name: &str) -> Refusal {
    denial::refusal(
        Reason::Construct,
        &format!("it cannot be told whether a prepared statement \"{name}\" exists"),
        "its PREPARE or DEALLOCATE has failed, and may have been carried out all the same",
        "Prepare it under another name, or DEALLOCATE it before it is prepared again.",
    )
}

/// EXECUTE and FETCH of what a message has made of SET, EXECUTE and their like.
pub(super) fn unlike_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "EXECUTE or FETCH by name of a statement that is no query",
        "what a message has prepared or bound of SET, EXECUTE, CREATE and their like is run by a message",
        "Send Bind and Execute, or the statement itself.",
    )
}

/// EXECUTE or FETCH, behind other statements of its text, of a name that the session has given to nothing.
pub(super) fn unknown_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "EXECUTE or FETCH of a name that is not known",
        "this session has prepared no statement, and declared no cursor, of that name: what a function may have made was not decided on",
        "PREPARE or DECLARE it first.",
    )
}

/// Rows that go elsewhere are counted before their transaction may end.
pub(super) fn copying_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "a statement that puts rows of protected relations elsewhere, in the middle of a COPY FROM STDIN",
        "it is counted before its transaction may end, and the server takes what is sent for the data of the COPY",
        "End the COPY first.",
    )
}

/// Where it is counted its transaction is to end with it.
pub(super) fn in_batch_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "a statement that puts rows of protected relations elsewhere, in a Query behind messages without a Sync",
        "its rows are counted before its transaction may end, which is that of the messages before it",
        "Send Sync before it, or bind and execute it in the batch.",
    )
}

/// A text of several statements goes to the server as a whole, and may end a transaction in itself.
pub(super) fn among_others_refusal() -> Refusal {
    denial::refusal(
        Reason::Construct,
        "a statement that puts rows of protected relations elsewhere, among other statements of one text",
        "its rows are counted before its transaction may end",
        "Send it as a statement of its own.",
    )
}

pub(super) fn stale_refusal() -> Refusal {
    denial::refusal(
        Reason::Setting,
        "the prepared statement was decided on under another search_path, policy or schema, or for somebody else",
        "a prepared statement runs only as long as the same decision would be made about it now",
        "Prepare the statement again (DEALLOCATE or Close it first).",
    )
}

/// What is open goes on as it was decided on, for whom it was opened.
pub(super) fn cursor_refusal() -> Refusal {
    denial::refusal(
        Reason::Setting,
        "the cursor or portal was opened under another policy or schema, or for somebody else",
        "what is open gives rows only as long as the same decision would be made about it now",
        "Let FETCH be for whom DECLARE was, or open it again (CLOSE it first).",
    )
}

pub(super) fn unavailable(error: &Unavailable) -> Refusal {
    match error {
        Unavailable::Schema(_) => tracing::error!(%error, "no statement can be decided on"),
        Unavailable::Dismissed => return denial::dismissed(),
        Unavailable::Directory => return denial::without_directory(),
    }
    denial::refusal(
        Reason::Relation,
        "the database's schema could not be read, so nothing can be decided on",
        "what is not known is not run",
        "Try again; if it stays so, ask the operator to look at pgveil's log.",
    )
}
