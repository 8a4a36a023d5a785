//! The allowlist of node types. What is not named here is refused, whatever a later PostgreSQL calls it.

/// Node types that need no rule of their own: they are safe if all nodes in them are.
const PLAIN: &[&str] = &[
    // Constants, references and operators on values
    "AConst", "Integer", "Float", "Boolean", "String", "BitString", "AStar", "ParamRef", "BoolExpr", "CaseExpr",
    "CaseWhen", "CoalesceExpr", "MinMaxExpr", "NullTest", "BooleanTest", "AArrayExpr", "RowExpr", "AIndirection",
    "AIndices", "CollateClause", "NamedArgExpr", "SqlvalueFunction", "SqlValueFunction", "GroupingFunc", "SetToDefault", "List",
    "XmlExpr", "XmlSerialize", "MultiAssignRef",
    // SQL/JSON
    "JsonObjectConstructor", "JsonArrayConstructor", "JsonArrayQueryConstructor", "JsonObjectAgg", "JsonArrayAgg",
    "JsonAggConstructor", "JsonOutput", "JsonReturning", "JsonFormat", "JsonValueExpr", "JsonKeyValue",
    "JsonIsPredicate", "JsonParseExpr", "JsonScalarExpr", "JsonSerializeExpr", "JsonFuncExpr", "JsonBehavior",
    "JsonArgument", "JsonTable", "JsonTableColumn", "JsonTablePathSpec",
    // Parts of queries
    "ResTarget", "GroupingSet", "WindowDef", "JoinExpr", "Alias", "RangeFunction", "RangeTableSample",
    "RangeTableFunc", "RangeTableFuncCol", "CteSearchClause", "CteCycleClause", "CtesearchClause", "CtecycleClause",
    // Parts of writes
    "OnConflictClause", "InferClause", "IndexElem", "MergeWhenClause", "ReturningClause", "ReturningOption",
    // Options of statements that are allowed
    "DefElem",
];

pub fn is_plain(kind: &str) -> bool {
    PLAIN.contains(&kind)
}
