//! Reports of sample records: the same bytes each time.

use migbench::{
    record::run::RunRecord,
    report::{self, Screen},
    stats::summary::Summary,
};

use crate::support::Shape;

fn render(name: &str, record: &RunRecord, screen: Screen) -> String {
    let format = report::by_name(name, screen).unwrap();
    let bytes = format.render(record, &Summary::new(record)).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn the_table_of_one_round() {
    let record = crate::support::record(&Shape::tensorflow(1));
    insta::assert_snapshot!(render("table", &record, Screen::default()));
}

#[test]
fn the_table_of_six_rounds() {
    let record = crate::support::record(&Shape::tensorflow(6));
    insta::assert_snapshot!(render("table", &record, Screen::default()));
}

#[test]
fn a_narrow_screen_is_respected() {
    let record = crate::support::record(&Shape::tensorflow(2));
    let table = render(
        "table",
        &record,
        Screen {
            width: 72,
            colour: false,
        },
    );
    for line in table.lines() {
        assert!(line.chars().count() <= 72, "{line}");
    }
    insta::assert_snapshot!(table);
}
