//! [`Expr`]: a read expression.

/// What `sortBy` becomes: a function of the list and the key of each item. No expression can write the name.
pub(crate) const SORT_BY: &str = "@sortByAssociatedKeys";

/// An expression and where it stands: the byte at which upstream reports what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub at: usize,
    pub node: Node,
}

impl Expr {
    /// The name that names joined by dots make; `None` of any other expression.
    pub fn dotted(&self) -> Option<String> {
        let (mut expr, mut names) = (self, Vec::new());
        loop {
            match &expr.node {
                Node::Name(name) => {
                    names.push(name.as_str());
                    names.reverse();
                    return Some(names.join("."));
                }
                Node::Select { of, field, optional: false } => {
                    names.push(field.as_str());
                    expr = of;
                }
                _ => return None,
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Literal(Literal),
    Name(String),
    /// `of.field`, or `of.?field`.
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(of.field)`
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// `of[index]`, or `of[?index]`.
    Index {
        of: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    Call {
        target: Option<Box<Expr>>,
        name: String,
        arguments: Vec<Expr>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// `Name.of.type{field: value}`
    Make {
        of: String,
        /// The place of a field is that of its colon.
        fields: Vec<(usize, String, Expr)>,
    },
    /// `?value` in a list, map or made object: left out where the optional has none.
    Maybe(Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `+`, `==`, `in` and the like.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    Each(Box<Each>),
    /// `cel.bind(name, value, inside)`
    Bind {
        name: String,
        value: Box<Expr>,
        inside: Box<Expr>,
    },
}

/// What is done with each item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
    TransformList,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
}

/// A macro over the items of a list, or the keys of a map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Each {
    pub over: Over,
    pub of: Expr,
    pub name: String,
    /// The second name: the value, where the first is the index or key.
    pub second: Option<String>,
    pub condition: Option<Expr>,
    pub body: Expr,
}
