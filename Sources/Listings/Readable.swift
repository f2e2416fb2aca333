import ControlProtocol
import Foundation

/// Numbers for people. Programs read JSON, which has them exactly.
package enum Readable {
    /// In place of what is not known.
    package static let nothing = "-"

    /// How long ago `moment` was, in one or two units, as kubectl's `AGE`.
    package static func age(_ moment: Timestamp?, now: Timestamp = .now()) -> String {
        guard let moment else { return nothing }
        let seconds = Int(max(0, now.milliseconds - moment.milliseconds) / 1000)
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400)
        if seconds < 120 { return "\(seconds)s" }
        if minutes < 10 { return twoUnits("\(minutes)m", seconds % 60, "s") }
        if minutes < 180 { return "\(minutes)m" }
        if hours < 8 { return twoUnits("\(hours)h", minutes % 60, "m") }
        if hours < 48 { return "\(hours)h" }
        if days < 8 { return twoUnits("\(days)d", hours % 24, "h") }
        return "\(days)d"
    }

    private static func twoUnits(_ first: String, _ rest: Int, _ unit: String) -> String {
        rest == 0 ? first : "\(first)\(rest)\(unit)"
    }

    /// UTC to the second.
    package static func moment(_ moment: Timestamp?) -> String {
        guard let moment else { return nothing }
        let text = moment.description
        return text.prefix(10) + " " + text.dropFirst(11).prefix(8) + " UTC"
    }

    /// Bytes in a binary unit with three significant digits or so.
    package static func bytes(_ bytes: Int?) -> String {
        guard let bytes else { return nothing }
        if bytes < 1024 { return "\(bytes) B" }
        var value = Double(bytes)
        var unit = ""
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        return String(format: value < 100 ? "%.1f" : "%.0f", value) + " " + unit
    }

    /// A duration in milliseconds below a second.
    package static func seconds(_ seconds: Double?) -> String {
        guard let seconds else { return nothing }
        return seconds < 1 ? String(format: "%.1f ms", seconds * 1000) : String(format: "%.2f s", seconds)
    }

    /// So much a second, with a decimal unit.
    package static func rate(_ value: Double, _ unit: String) -> String {
        let units = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")]
        guard let (size, prefix) = units.first(where: { value >= $0.0 }) else {
            return String(format: "%.3g ", value) + unit
        }
        return String(format: "%.3g ", value / size) + prefix + unit
    }

    /// Mean over largest; 1 is perfect.
    package static func balance(_ balance: Double?) -> String {
        balance.map { String(format: "%.3f", $0) } ?? nothing
    }

    /// Rows in a step, which need not be whole.
    package static func load(_ rows: Double?) -> String {
        rows.map { String(format: $0 < 100 ? "%.2f" : "%.0f", $0) } ?? nothing
    }

    package static func part(_ value: Double?, of whole: Double) -> String {
        guard let value, whole > 0 else { return nothing }
        return String(format: "%.1f%%", 100 * value / whole)
    }

    /// What was and what is to be.
    package static func change(_ before: Double?, _ after: Double?, _ text: (Double?) -> String) -> String {
        before == nil && after == nil ? nothing : "\(text(before)) → \(text(after))"
    }

    package static func loss(_ loss: Double?) -> String {
        loss.map { String(format: "%.4f", $0) } ?? nothing
    }

    package static func number(_ number: Int?) -> String {
        number.map(String.init) ?? nothing
    }

    /// 0, 1, 2, 5 as "0-2,5". Ascending.
    package static func ranges(_ numbers: [Int]) -> String {
        var ranges = [ClosedRange<Int>]()
        for number in numbers {
            if let last = ranges.last, last.upperBound + 1 == number {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }

    /// Layers of so many experts.
    package static func shape(_ experts: [Int]) -> String {
        "\(experts.count) layer\(experts.count == 1 ? "" : "s") of \(sizes(experts)) experts"
    }

    /// The one size, or the least and the largest.
    package static func sizes(_ sizes: [Int]) -> String {
        guard let least = sizes.min(), let largest = sizes.max() else { return nothing }
        return least == largest ? "\(least)" : "\(least)-\(largest)"
    }
}
