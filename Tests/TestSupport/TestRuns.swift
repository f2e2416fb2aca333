import Foundation

/// How long random tests take, and where they begin.
public enum TestRuns {
    /// `make soak` sets it: the long forms of tests that have one.
    public static let isSoak = ProcessInfo.processInfo.environment["MOE_SOAK"] == "1"

    /// `short` in `make test`, `long` in `make soak`.
    public static func count(_ short: Int, soak long: Int) -> Int { isSoak ? long : short }

    /// A seed, printed: that of `MOE_SEED` to repeat a run, or a new one.
    public static func seed(file: String = #fileID, _ test: String = #function) -> UInt64 {
        let chosen = ProcessInfo.processInfo.environment["MOE_SEED"].flatMap { UInt64($0) }
        let seed = chosen ?? UInt64.random(in: 0...UInt64.max)
        print("\(file), \(test): seed \(seed) (MOE_SEED=\(seed) repeats it)")
        return seed
    }
}
