import Foundation

/// How numbers lie along an axis.
struct ChartScale {
    let isLogarithmic: Bool
    let range: ClosedRange<Double>
    let ticks: [Double]

    /// - Parameter values: finite, and positive where the scale is logarithmic.
    init(_ values: [Double], isLogarithmic: Bool, ticks count: Int) {
        self.isLogarithmic = isLogarithmic
        // What lies between the ends is a number, too.
        let bound = 1e300
        let low = min(bound, max(-bound, values.min() ?? (isLogarithmic ? 1 : 0)))
        let high = min(bound, max(-bound, values.max() ?? 1))
        if isLogarithmic {
            let low = max(low, 1e-300)
            (range, ticks) = Self.logarithmic(low, max(high, low))
        } else {
            (range, ticks) = Self.linear(low, high, count)
        }
    }

    /// 0 … 1.
    func place(_ value: Double) -> Double {
        let (low, high) = (range.lowerBound, range.upperBound)
        if isLogarithmic { return (log(value) - log(low)) / (log(high) - log(low)) }
        return (value - low) / (high - low)
    }

    /// Steps of 1, 2 or 5 times a power of ten; zero belongs to them when it is near.
    private static func linear(_ low: Double, _ high: Double, _ count: Int) -> (ClosedRange<Double>, [Double]) {
        var (low, high) = (low, high)
        if low > 0, low < 0.5 * high { low = 0 }
        if !(high - low > max(1e-290, 1e-9 * max(abs(low), abs(high)))) {
            let room = max(abs(low), 1) * 0.5
            (low, high) = (low - room, high + room)
        }
        let raw = (high - low) / Double(count)
        let power = pow(10, floor(log10(raw)))
        let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= raw * (1 - 1e-9) } ?? 10 * power
        let (first, last) = ((low / step).rounded(.down), (high / step).rounded(.up))
        let ticks = (0...Int(last - first)).map { (first + Double($0)) * step }
        return (first * step...last * step, ticks)
    }

    /// Powers of ten, with 2 and 5 times them where there are few, and the ends on such a number.
    private static func logarithmic(_ low: Double, _ high: Double) -> (ClosedRange<Double>, [Double]) {
        let (first, last) = (Int(floor(log10(low))), Int(ceil(log10(high))))
        let factors: [Double] = last - first <= 3 ? [1, 2, 5] : [1]
        let all = (first...max(last, first + 1)).flatMap { exponent in factors.map { $0 * pow(10, Double(exponent)) } }
        let lower = all.last { $0 <= low * (1 + 1e-9) } ?? low
        let upper = all.first { $0 >= high * (1 - 1e-9) && $0 > lower } ?? lower * 10
        return (lower...upper, all.filter { $0 >= lower && $0 <= upper })
    }

    /// A number on an axis: 1500 as 1.5k, 0.002 as 2m.
    static func label(_ value: Double) -> String {
        if value == 0 { return "0" }
        let units: [(Double, String)] = [
            (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"),
            (1e-6, "µ"),
            (1e-9, "n"),
        ]
        // Parts of one as they are, as far as they are short.
        if abs(value) < 1, abs(value) >= 0.01 { return trimmed(value, digits: 3) }
        let unit = units.first { abs(value) >= $0.0 * (1 - 1e-9) } ?? (1, "")
        guard abs(value) < 1e21, abs(value) >= 1e-9 else { return String(format: "%g", value) }
        return trimmed(value / unit.0, digits: 2) + unit.1
    }

    private static func trimmed(_ value: Double, digits: Int) -> String {
        var text = String(format: "%.\(digits)f", value)
        while text.contains("."), text.hasSuffix("0") || text.hasSuffix(".") { text.removeLast() }
        return text
    }
}
