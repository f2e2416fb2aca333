import GradientChecks
import Testing

extension GradientCheck {
    /// Records an issue for each entry that differs.
    func expect(
        _ subjects: [Subject], sourceLocation: SourceLocation = #_sourceLocation, loss: () throws -> Double
    ) rethrows {
        for failure in try failures(of: subjects, loss: loss) {
            Issue.record("\(failure)", sourceLocation: sourceLocation)
        }
    }
}
