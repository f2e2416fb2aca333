import Foundation
import Testing
import WorkerRuntime

@Suite struct ProgressTests {
    private func metrics(step: Int, validationLoss: Double? = nil) -> StepMetrics {
        StepMetrics(
            step: step, loss: 2.5, auxiliaryLoss: .nan, gradientNorm: 0.25, learningRate: 1e-3, tokensPerSecond: 1234.6,
            stepSeconds: 0.5, planRevision: 1, expertLoad: [[1, 2]], validationLoss: validationLoss,
            phaseSeconds: ["experts": 0.25], bytesSent: 10, residentBytes: 100, skippedSteps: 0)
    }

    private func output(isTerminal: Bool) -> String {
        var text = ""
        let display = ProgressDisplay(steps: 10, interval: 4, isTerminal: isTerminal) { text += $0 }
        for step in 1...5 { display.show(metrics(step: step, validationLoss: step == 2 ? 2.25 : nil)) }
        display.say("done")
        return text
    }

    private let rest = "aux nan  grad norm 0.250  lr 1.00e-03  1235 tokens/s  plan 1"

    @Test func plainOutputHasLinesAtTheInterval() {
        #expect(
            output(isTerminal: false) == """
                step  1/10  loss 2.5000  \(rest)
                step  2/10  loss 2.5000  validation 2.2500  \(rest)
                step  4/10  loss 2.5000  \(rest)
                done

                """)
    }

    @Test func terminalOutputRenewsALine() {
        let clear = "\r\u{1b}[K"
        #expect(
            output(isTerminal: true)
                == "step  1/10  loss 2.5000  \(rest)\nstep  2/10  loss 2.5000  validation 2.2500  \(rest)\n"
                + "\(clear)step  3/10  loss 2.5000  \(rest)\(clear)step  4/10  loss 2.5000  \(rest)\n"
                + "\(clear)step  5/10  loss 2.5000  \(rest)\(clear)done\n")
    }

    @Test func numbersThatAreNotFiniteAreNull() throws {
        let data = try JSONEncoder().encode(metrics(step: 1))
        let line = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(line["aux_loss"] is NSNull)
        #expect(line["loss"] as? Double == 2.5)
        #expect(line["validation_loss"] == nil)
        #expect(
            Set(line.keys).isSuperset(of: [
                "step", "loss", "aux_loss", "grad_norm", "learning_rate", "tokens_per_second", "step_seconds",
                "plan_revision", "expert_load",
            ]))
    }
}
