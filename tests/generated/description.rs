//! RowDescription, as far as comparisons look into it.

/// One column: name, object id of its table, column number, object id of its type, and the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    name: Vec<u8>,
    table: u32,
    column: [u8; 2],
    data_type: u32,
    rest: Vec<u8>,
}

/// `record` (pg_type.dat).
const RECORD: u32 = 2249;
/// Bytes behind a column's name.
const FIXED: usize = 18;

fn fields(body: &[u8]) -> Vec<Field> {
    let number = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let mut fields = Vec::new();
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let (name, behind) = rest.split_at(end);
        let fixed = &behind[1..1 + FIXED];
        fields.push(Field {
            name: name.to_vec(),
            table: number(fixed),
            column: [fixed[4], fixed[5]],
            data_type: number(&fixed[6..]),
            rest: fixed[10..].to_vec(),
        });
        rest = &behind[1 + FIXED..];
    }
    fields
}

/// The message less the object ids of relations and types that statements have created: sessions take them from one
/// counter.
pub fn without_new_oids(body: &[u8], last_oid: u32) -> Vec<u8> {
    let mut bytes = body[..2].to_vec();
    let old = |oid: u32| if oid > last_oid { 0 } else { oid };
    for field in fields(body) {
        bytes.extend(&field.name);
        bytes.push(0);
        bytes.extend(old(field.table).to_be_bytes());
        bytes.extend(field.column);
        bytes.extend(old(field.data_type).to_be_bytes());
        bytes.extend(field.rest);
    }
    bytes
}

/// What is not alike in two descriptions.
pub fn deviation(ours: &[u8], theirs: &[u8]) -> &'static str {
    let (ours, theirs) = (fields(ours), fields(theirs));
    if ours.len() != theirs.len() {
        return "number of columns";
    }
    let mut found = "nothing";
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if ours == theirs {
            continue;
        }
        if ours.name != theirs.name {
            return "column name";
        }
        let bare_row = ours.data_type == RECORD && theirs.data_type != RECORD;
        if ours.data_type != theirs.data_type && !bare_row {
            return "column type";
        }
        if ours.data_type == theirs.data_type && ours.rest != theirs.rest {
            return "type modifier";
        }
        found = match bare_row {
            true => "whole row as record",
            false => "column origin",
        };
    }
    found
}
