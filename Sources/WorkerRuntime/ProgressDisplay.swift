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
    ///   - write: takes the text; standard output unless said.
    public init(
        steps: Int, interval: Int, isTerminal: Bool = isatty(STDOUT_FILENO) == 1,
        write: @escaping (String) -> Void = { text in try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) }
    ) {
        self.steps = steps
        self.interval = interval
        self.isTerminal = isTerminal
        self.write = write
    }

    /// Prints a line that stays.
    public func say(_ line: String) {
        write((hasLiveLine ? "\r\u{1b}[K" : "") + line + "\n")
        hasLiveLine = false
    }

    public func show(_ metrics: StepMetrics) {
        let stays = metrics.step == 1 || metrics.step % interval == 0 || metrics.step == steps
        let text = line(metrics)
        if stays {
            say(text)
        } else if isTerminal {
            write("\r\u{1b}[K" + text)
            hasLiveLine = true
        }
    }

    private func line(_ metrics: StepMetrics) -> String {
        let width = String(steps).count
        let step = String(metrics.step)
        let padded = String(repeating: " ", count: max(0, width - step.count)) + step
        var text = "step \(padded)/\(steps)  loss \(fixed(metrics.loss, 4))"
        if let validation = metrics.validationLoss { text += "  validation \(fixed(validation, 4))" }
        text += "  aux \(fixed(metrics.auxiliaryLoss, 3))  grad norm \(fixed(metrics.gradientNorm, 3))"
        text += "  lr \(String(format: "%.2e", metrics.learningRate))"
        text += "  \(Int(metrics.tokensPerSecond.rounded())) tokens/s  plan \(metrics.planRevision)"
        return text
    }

    private func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
