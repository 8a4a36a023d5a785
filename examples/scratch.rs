use pgveil::sql::tree::Tree;
fn main(){ for s in std::env::args().skip(1) { let r=pg_query::parse(&s, pg_query::ParserOptions::default()).unwrap(); for st in &r.protobuf.stmts { println!("{:?}", Tree::of(&st.stmt)); } 
 let t=std::time::Instant::now(); for _ in 0..1000 { let r=pg_query::parse(&s, pg_query::ParserOptions::default()).unwrap(); std::hint::black_box(Tree::of(&r.protobuf.stmts[0].stmt)); } println!("{:?}/1000", t.elapsed());
 let t=std::time::Instant::now(); for _ in 0..1000 { let r=pg_query::parse(&s, pg_query::ParserOptions::default()).unwrap(); std::hint::black_box(r); } println!("{:?}/1000", t.elapsed()); } }
