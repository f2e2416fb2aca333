import ExpertParallelism
import Foundation

/// Progress that a person can read: a line that renews itself on a terminal, plain lines otherwise.
public final class ProgressDisplay {
    private let isTerminal: Bool
    private let steps: Int
    private let interval: Int
    private let write: (String) -> Void
    private var hasLiveLine = false

    /// - Parameters:
    ///   - interval: steps between two lines that stay.
    ///   - write: takes the text.
    public init(
        steps: Int, interval: Int, isTerminal: Bool,
        write: @escaping (String) -> Void = ProgressDisplay.toStandardOutput
    ) {
        self.steps = steps
        self.interval = interval
        self.isTerminal = isTerminal
        self.write = write
    }

    /// Writes at once, past any buffer. A reader that has gone does not end the training.
    public static func toStandardOutput(_ text: String) {
        try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
    }

    /// Prints a line that stays.
    public func say(_ line: String) {
        write((hasLiveLine ? "\r\u{1b}[K" : "") + line + "\n")
        hasLiveLine = false
    }

    /// Ends the live line, so that a message can follow.
    public func finish() {
        if hasLiveLine { write("\n") }
        hasLiveLine = false
    }

    public func show(_ metrics: StepMetrics) {
        let isShown =
            metrics.step == 1 || metrics.step % interval == 0 || metrics.step == steps
            || metrics.validationLoss != nil
        if isShown {
            say(line(metrics))
        } else if isTerminal {
            write("\r\u{1b}[K" + line(metrics))
            hasLiveLine = true
        }
    }

    /// Says which plan has come into force before a step, if one has.
    func show(_ progress: PlanFollower.Progress, step: Int) {
        guard let revision = progress.completedRevision else { return }
        let migration = progress.planMigration
        let milliseconds = 1e3 * migration.seconds
        say(
            "step \(step): placement revision \(revision) is in force; \(migration.totalBytes) bytes moved in "
                + "\(fixed(milliseconds, 1)) ms")
    }

    func show(_ saved: CheckpointSaver.Saved) {
        let megabytes = Double(saved.bytes) / 1e6
        say(
            "step \(saved.step): checkpoint \(saved.path), \(fixed(megabytes, 1)) MB in \(fixed(saved.seconds, 2)) s")
    }

    private func line(_ metrics: StepMetrics) -> String {
        let step = String(metrics.step)
        let padding = String(repeating: " ", count: max(0, String(steps).count - step.count))
        var text = "step \(padding)\(step)/\(steps)  loss \(fixed(metrics.loss, 4))"
        if let validation = metrics.validationLoss { text += "  validation \(fixed(validation, 4))" }
        text += "  aux \(fixed(metrics.auxiliaryLoss, 3))  grad norm \(fixed(metrics.gradientNorm, 3))"
        text += "  lr \(String(format: "%.2e", metrics.learningRate))"
        text += "  \(Int(metrics.tokensPerSecond.rounded())) tokens/s  plan \(metrics.planRevision)"
        if metrics.skippedSteps > 0 { text += "  skipped \(metrics.skippedSteps)" }
        return text
    }

    private func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
