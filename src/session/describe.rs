//! RowDescription of a restricted session: the second line of defence, and column metadata restored.
//!
//! The server names the table and column of every plain output column. A masked column among them means that a raw
//! value is about to come back: the substitution has failed. A masked column that comes out of its subquery names no
//! table; drivers that show or update by it get to see what they would see without pgveil.
use crate::catalog::{AttNum, Oid};
use crate::policy::compiled::RolePolicy;
use crate::session::charset::Charset;
use crate::sql::plan::Origin;
use crate::wire::frame::Malformed;

/// `record` (pg_type.dat): what the row of a subquery is. Its values are written as those of a table's row type are.
const RECORD: Oid = 2249;

/// Bytes of a field after its name: table, column, type, size, modifier, format.
const FIELD_TAIL: usize = 18;

/// A masked column of the role that comes back as a plain column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawColumn {
    pub relation: Oid,
    pub column: AttNum,
}

/// The byte offset of one field's table OID in the body, with what it says.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a [u8],
    tail: usize,
    pub relation: Oid,
    pub column: AttNum,
    /// OID of its type.
    pub data_type: Oid,
}

/// The fields of a RowDescription's body.
///
/// # Errors
/// It is malformed.
pub fn fields(body: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
    let count = body
        .first_chunk::<2>()
        .map(|count| u16::from_be_bytes(*count))
        .ok_or(Malformed)?;
    let mut found = Vec::with_capacity(usize::from(count));
    let mut at = 2;
    for _ in 0..count {
        let rest = body.get(at..).ok_or(Malformed)?;
        let length = rest.iter().position(|byte| *byte == 0).ok_or(Malformed)?;
        let (name, after) = rest.split_at(length);
        let tail = after.get(1..=FIELD_TAIL).ok_or(Malformed)?;
        let (relation, tail) = tail.split_first_chunk::<4>().ok_or(Malformed)?;
        let (column, tail) = tail.split_first_chunk::<2>().ok_or(Malformed)?;
        let data_type = tail.first_chunk::<4>().ok_or(Malformed)?;
        found.push(Field {
            name,
            tail: at + length + 1,
            relation: u32::from_be_bytes(*relation),
            column: i16::from_be_bytes(*column),
            data_type: u32::from_be_bytes(*data_type),
        });
        at += length + 1 + FIELD_TAIL;
    }
    if at == body.len() {
        Ok(found)
    } else {
        Err(Malformed)
    }
}

/// The first column that is masked for the role, or left out, that a RowDescription's body names.
pub fn raw_column(body: &[u8], role: &RolePolicy) -> Result<Option<RawColumn>, Malformed> {
    let raw = fields(body)?
        .iter()
        .find(|field| {
            role.mask(field.relation, field.column).is_some()
                || role.denies(field.relation, field.column)
        })
        .map(|field| RawColumn {
            relation: field.relation,
            column: field.column,
        });
    Ok(raw)
}

/// Puts table and column back where a masked column lost them. Does nothing where the result is not the one that
/// was planned: another number of fields, another name.
pub fn restore(
    body: &mut [u8],
    origins: &[Option<Origin>],
    charset: Charset,
) -> Result<(), Malformed> {
    let found = fields(body)?;
    if found.len() != origins.len() {
        return Ok(());
    }
    let places: Vec<(usize, Oid, AttNum, Option<Oid>)> = found
        .iter()
        .zip(origins)
        .filter_map(|(field, origin)| {
            let origin = origin.as_ref()?;
            let name = charset.encode(&origin.name)?;
            let row = origin.row_type.is_none() || field.data_type == RECORD;
            let lost = field.relation == 0 && field.name == name.as_ref() && row;
            lost.then_some((field.tail, origin.relation, origin.column, origin.row_type))
        })
        .collect();
    for (at, relation, column, row_type) in places {
        if let Some(row_type) = row_type {
            let place = body.get_mut(at + 6..at + 10).ok_or(Malformed)?;
            place.copy_from_slice(&row_type.to_be_bytes());
        }
        let place = body.get_mut(at..at + 6).ok_or(Malformed)?;
        let (oid, number) = place.split_at_mut(4);
        oid.copy_from_slice(&relation.to_be_bytes());
        number.copy_from_slice(&column.to_be_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::compiled::{ColumnMask, MaskSql};
    use std::collections::HashMap;

    fn description(list: &[(&str, Oid, AttNum)]) -> Vec<u8> {
        let mut body = (list.len() as u16).to_be_bytes().to_vec();
        for (name, relation, column) in list {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(&relation.to_be_bytes());
            body.extend_from_slice(&column.to_be_bytes());
            body.extend_from_slice(&[0; 12]);
        }
        body
    }

    fn origin(name: &str) -> Option<Origin> {
        Some(Origin {
            relation: 500,
            column: 3,
            name: name.to_owned(),
            row_type: None,
        })
    }

    fn role() -> RolePolicy {
        let mask = ColumnMask {
            class: "phone".into(),
            sql: MaskSql::from_template("NULL"),
            lookup: false,
            parts: Vec::new(),
        };
        RolePolicy {
            masks: HashMap::from([(500, HashMap::from([(3, mask)]))]),
            denied: HashMap::from([(500, [4].into())]),
            ..RolePolicy::default()
        }
    }

    #[test]
    fn a_masked_column_that_comes_back_raw_is_found() {
        let role = role();
        let check = |list: &[_], expected| {
            let found = raw_column(&description(list), &role).unwrap();
            assert_eq!(found.map(|raw| (raw.relation, raw.column)), expected);
        };
        check(&[("id", 500, 1), ("phone", 0, 0)], None);
        check(&[("id", 500, 1), ("x", 500, 3)], Some((500, 3)));
        check(&[("id", 500, 1), ("left out", 500, 4)], Some((500, 4)));
        check(&[], None);
    }

    #[test]
    fn metadata_is_restored_for_fields_of_the_planned_name_only() {
        let mut body = description(&[("phone", 0, 0), ("other", 0, 0), ("phone", 7, 1)]);
        let origins = [origin("phone"), origin("phone"), origin("phone")];
        restore(&mut body, &origins, Charset::Utf8).unwrap();
        let expected = description(&[("phone", 500, 3), ("other", 0, 0), ("phone", 7, 1)]);
        assert_eq!(body, expected);
    }

    #[test]
    fn a_whole_row_gets_its_type_back() {
        let row = Origin {
            relation: 500,
            column: 0,
            name: "c".to_owned(),
            row_type: Some(501),
        };
        let described = |relation: Oid, data_type: Oid| {
            let mut body = description(&[("c", relation, 0)]);
            let at = body.len() - 12;
            body[at..at + 4].copy_from_slice(&data_type.to_be_bytes());
            body
        };
        for (before, after) in [
            (described(0, RECORD), described(500, 501)),
            (described(0, 25), described(0, 25)),
        ] {
            let mut body = before;
            restore(&mut body, &[Some(row.clone())], Charset::Utf8).unwrap();
            assert_eq!(body, after);
        }
    }

    #[test]
    fn a_result_of_another_width_is_left_alone() {
        let mut body = description(&[("phone", 0, 0)]);
        restore(&mut body, &[origin("phone"), None], Charset::Utf8).unwrap();
        assert_eq!(body, description(&[("phone", 0, 0)]));
    }

    #[test]
    fn descriptions_that_lie_about_their_length_are_malformed() {
        let whole = description(&[("phone", 0, 0), ("x", 0, 0)]);
        for end in 0..whole.len() {
            assert!(fields(&whole[..end]).is_err(), "cut at {end}");
        }
        let mut longer = whole;
        longer.push(0);
        assert!(fields(&longer).is_err());
    }
}
