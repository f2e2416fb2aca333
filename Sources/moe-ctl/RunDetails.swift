import ControlProtocol
import ExpertPlacement
import Listings

/// One run for people to read.
enum RunDetails {
    static func tables(_ run: RunShown) -> [Table] {
        let summary = run.summary
        let entries: [(name: String, value: String)] = [
            ("Run", summary.run),
            ("State", summary.state.rawValue + (run.reason.map { " (\($0))" } ?? "")),
            ("Incarnation", "\(summary.incarnation)"),
            ("Ranks", "\(summary.worldSize)"),
            ("Rank 0", "process \(run.processID) on \(run.host)"),
            (
                "Model",
                "\(summary.layers) layers, \(summary.experts) experts of \(widths(run.model)) neurons, "
                    + "hidden size \(run.model.hiddenSize)"
            ),
            (
                "Placement",
                "revision \(summary.planRevision) by \(summary.allocator)"
                    + (run.ownership.map { ", optimizer state \($0.rawValue)" } ?? "")
            ),
            ("Created", Readable.moment(summary.createdAt)),
            ("Started", Readable.moment(summary.startedAt)),
            ("Finished", Readable.moment(summary.finishedAt)),
            ("Step", Readable.number(summary.step)),
            ("Loss", Readable.loss(summary.loss)),
            ("Reports", "\(run.storedReports) stored, the last \(Readable.moment(summary.reportedAt))"),
        ]
        var configuration = Table([("CONFIGURATION", .left), ("VALUE", .left)], whenEmpty: "no configuration")
        for (key, value) in run.configuration.sorted(by: { $0.key < $1.key }) { configuration.add([key, value]) }
        return [.details(entries), configuration, events(run.events)]
    }

    private static func widths(_ model: ExpertModel) -> String {
        Readable.sizes(model.layers.flatMap { $0 })
    }

    /// - Parameter table: that they go on.
    static func events(_ events: [RunEvent], below table: Table? = nil) -> Table {
        var table =
            table?.continued
            ?? Table(
                [
                    ("TIME", .left), ("EVENT", .left), ("INCARNATION", .right), ("PLAN", .right), ("WHO", .left),
                    ("WHY", .left),
                ],
                whenEmpty: "no events")
        for event in events {
            table.add([
                Readable.moment(event.at), event.kind.rawValue, "\(event.incarnation)", Readable.number(event.revision),
                event.who, event.why,
            ])
        }
        return table
    }
}
