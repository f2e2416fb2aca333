import ControlProtocol
import Listings

/// The newest plans, with what they were to bring and brought.
struct PlanSection: WatchSection {
    private static let columnsByWeight = [
        "STEP", "PREDICTED", "MEASURED", "TIME", "STATE", "REVISION", "AGE", "MOVED", "WHY", "LAYERS", "WHO",
    ]
    let plans: [PlanSummary]

    var leastRows: Int { min(3, wantedRows) }
    var wantedRows: Int { max(2, 1 + min(plans.count, 6)) }

    func lines(columns: Int, rows: Int) -> [StyledLine] {
        PlacementCommands.History.table(Array(plans.prefix(rows - 1)))
            .narrowed(to: columns, byWeight: Self.columnsByWeight).lines(atMost: rows)
    }
}

/// What happened last, the newest first.
struct EventSection: WatchSection {
    let events: [NumberedEvent]
    let now: Timestamp

    var leastRows: Int { min(3, wantedRows) }
    var wantedRows: Int { max(2, 1 + events.count) }

    func lines(columns: Int, rows: Int) -> [StyledLine] {
        var table = Table(
            [("AGE", .right), ("EVENT", .left), ("PLAN", .right), ("WHO", .left), ("WHY", .left)],
            whenEmpty: "no events")
        for event in events.suffix(rows - 1).reversed().map(\.event) {
            table.add([
                Readable.age(event.at, now: now), event.kind.rawValue, Readable.number(event.revision), event.who,
                event.why,
            ])
        }
        return table.narrowed(to: columns, byWeight: ["AGE", "EVENT", "WHY", "PLAN", "WHO"]).lines(atMost: rows)
    }
}

extension Table {
    fileprivate func lines(atMost rows: Int) -> [StyledLine] {
        text.split(separator: "\n").prefix(rows).enumerated().map { StyledLine(String($1), $0 == 0 ? .bold : .plain) }
    }
}
