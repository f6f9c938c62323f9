package session

import (
	"context"
	"errors"
	"sync"

	"quicktune/generate/dispatch"
	"quicktune/generate/timm"
	"quicktune/generate/trainer"
	"quicktune/tune/classify"
	"quicktune/tune/live"
)

// pool is a trainer of workers, each of which trains one trial at a time. A
// worker is lent from when it is ready; one that cannot be started again is
// lost, and the others go on.
type pool struct {
	workers []*timm.Worker
	free    chan *timm.Worker
	first   chan struct{} // closed when a worker is ready
	none    chan struct{} // closed when all are lost

	mu   sync.Mutex
	left int
	err  error // of the worker that was lost last

	once   sync.Once
	starts sync.WaitGroup
	stop   context.CancelFunc // of the starts
}

var (
	_ trainer.Trainer = (*pool)(nil)
	_ live.Pool       = (*pool)(nil)
)

func newPool(workers []*timm.Worker) *pool {
	return &pool{
		workers: workers, left: len(workers), free: make(chan *timm.Worker, len(workers)),
		first: make(chan struct{}), none: make(chan struct{}), stop: func() {},
	}
}

// begin starts all workers, once, and does not wait for them.
func (p *pool) begin(ctx context.Context) { p.once.Do(func() { p.start(ctx) }) }

func (p *pool) start(ctx context.Context) {
	ctx, p.stop = context.WithCancel(ctx)
	var first sync.Once
	for _, w := range p.workers {
		p.starts.Go(func() {
			if err := w.Begin(ctx); err != nil {
				p.lose(err)
				return
			}
			first.Do(func() { close(p.first) })
			p.free <- w
		})
	}
}

// wait waits for the first worker.
func (p *pool) wait(ctx context.Context) error {
	select {
	case <-p.first:
		return nil
	case <-p.none:
		return p.lost()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lose notes that a worker cannot be used any more.
func (p *pool) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	if p.left--; p.left == 0 {
		close(p.none)
	}
}

func (p *pool) lost() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *pool) take(ctx context.Context) (*timm.Worker, error) {
	select {
	case w := <-p.free:
		return w, nil
	case <-p.none:
		return nil, p.lost()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Acquire implements [live.Pool].
func (p *pool) Acquire(ctx context.Context) (trainer.Trainer, func(), error) {
	w, err := p.take(ctx)
	if err != nil {
		return nil, func() {}, err
	}
	l := &loan{p, w}
	return l, l.giveBack, nil
}

// Train implements [trainer.Trainer].
func (p *pool) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	l, giveBack, err := p.Acquire(ctx)
	if err != nil {
		return trainer.End{}, err
	}
	defer giveBack()
	return l.Train(ctx, r, emit)
}

// confusion tells how a network takes test pictures.
func (p *pool) confusion(ctx context.Context, t timm.Trained, dataset string, amp bool) (classify.Confusion, error) {
	p.begin(ctx) // a search that is over needs no workers otherwise
	w, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { p.free <- w }()
	return w.Confusion(ctx, t, dataset, amp)
}

// close ends all workers, also those that are about to start.
func (p *pool) close() {
	p.stop()
	p.starts.Wait()
	var ends sync.WaitGroup
	for _, w := range p.workers {
		ends.Go(w.Close)
	}
	ends.Wait()
}

// loan is a worker that is lent, or nothing when all are lost.
type loan struct {
	pool   *pool
	worker *timm.Worker
}

// Train implements [trainer.Trainer]. When its worker is lost, another one goes
// on with the trial.
func (l *loan) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	for {
		end, err := l.worker.Train(ctx, r, emit)
		if !errors.As(err, new(*dispatch.WorkerError)) {
			return end, err
		}
		l.pool.lose(err)
		if l.worker, err = l.pool.take(ctx); err != nil {
			return trainer.End{}, err
		}
	}
}

func (l *loan) giveBack() {
	if l.worker != nil {
		l.pool.free <- l.worker
	}
}
