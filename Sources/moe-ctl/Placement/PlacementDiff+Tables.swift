import ExpertPlacement
import Listings

extension PlacementDiff {
    var tables: [Table] { [heading] + (experts.isEmpty ? [] : [expertTable, rankTable]) }

    private var heading: Table {
        .details([
            ("From", from.name), ("To", to.name),
            ("Changed", experts.isEmpty ? "nothing" : "\(experts.count) of \(expertCount) experts"),
            (
                "Bytes to move",
                bytes.map(Readable.bytes) ?? "none: the number of ranks changes, a checkpoint carries the state"
            ),
        ])
    }

    /// One line for neighbours that change alike.
    private var expertTable: Table {
        let showsFractions = experts.contains { $0.before.fractions != $0.after.fractions }
        var table = Table(
            [
                ("LAYER", .left), ("EXPERT", .left), ("BEFORE", .left), ("AFTER", .left), ("GETS", .left),
                ("LOSES", .left),
                ("BYTES", .right),
            ] + (showsFractions ? [("TOKENS", .left)] : []))
        for layers in layers.runs(where: { Self.areAlike($0, $1) }) {
            let first = self.layers[layers.lowerBound]
            let names = Readable.ranges(layers.map { self.layers[$0][0].layer })
            for alike in first.runs(where: { $0.expert + 1 == $1.expert && Self.areAlike($0, $1) }) {
                let change = first[alike.lowerBound]
                let sizes = layers.flatMap { layer in alike.map { self.layers[layer][$0].bytes } }
                let bytes = bytes == nil ? nil : sizes.reduce(0) { $0 + ($1 ?? 0) }
                table.add(
                    [
                        names, Readable.ranges(alike.map { first[$0].expert }), Self.mesh(change.before),
                        Self.mesh(change.after), Self.text(change.gets), Self.text(change.loses), Readable.bytes(bytes),
                    ] + (showsFractions ? [Self.fractions(change)] : []))
            }
        }
        return table
    }

    /// The changes of each layer that has any.
    private var layers: [[ExpertChange]] {
        experts.runs(where: { $0.layer == $1.layer }).map { Array(experts[$0]) }
    }

    private static func areAlike(_ one: [ExpertChange], _ other: [ExpertChange]) -> Bool {
        one[0].layer + 1 == other[0].layer && one.map(\.expert) == other.map(\.expert)
            && zip(one, other).allSatisfy { areAlike($0, $1) }
    }

    private static func areAlike(_ one: ExpertChange, _ other: ExpertChange) -> Bool {
        one.before == other.before && one.after == other.after
    }

    private static func mesh(_ expert: ExpertPlacement) -> String { "\(expert.mesh)" }

    /// Neurons with the last one, as "rank: first-last".
    private static func text(_ parts: [RankNeurons]) -> String {
        parts.map { part in
            let last = part.end - 1
            return "\(part.rank): " + (part.start == last ? "\(last)" : "\(part.start)-\(last)")
        }.joined(separator: "; ")
    }

    private static func fractions(_ change: ExpertChange) -> String {
        let (before, after) = (PlacementTable.fractions(of: change.before), PlacementTable.fractions(of: change.after))
        return before == after ? before : "\(before) → \(after)"
    }

    private var rankTable: Table {
        var table = Table([
            ("RANK", .right), ("GETS", .right), ("LOSES", .right), ("SENDS", .right), ("RECEIVES", .right),
        ])
        for rank in ranks {
            table.add([
                "\(rank.rank)", "\(rank.getsNeurons)", "\(rank.losesNeurons)", Readable.bytes(rank.sendsBytes),
                Readable.bytes(rank.receivesBytes),
            ])
        }
        return table
    }
}
