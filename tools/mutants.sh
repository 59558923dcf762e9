#!/bin/sh
# mutants.sh - plants bugs in the engine, one at a time, and demands that a test dies of each.
#
# The sources are copied, one line is changed, and the tests of that part (opcheck first for the engine) are run
# until one fails.  A bug that all survive, a change that no longer finds its line and one that does not compile
# are errors: when a line moves, its mutant moves with it.  With a word as argument: only mutants of files
# that contain it.
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d "${TMPDIR:-/tmp}/hone-mutants-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
only=${1:-}
cc=${CC:-cc}
flags="-std=gnu11 -O1 -D_GNU_SOURCE -DHN_REAL=double -ffp-contract=off -I$work/src -I$work/tests -w"
libs="-lcmocka -ljansson -lyaml -lnettle -lpcre2-8 -lutf8proc -lm -pthread"
mkdir "$work/src" "$work/tests" "$work/obj"
cp -r src/base src/tensor src/op src/text "$work/src"
cp tests/op*.[ch] tests/tape.c tests/forest.c tests/kv.c tests/torture.h "$work/tests"
cp tests/base.c tests/io.c tests/pool.c tests/opt.c tests/template.c tests/chat.c tests/chat_data.h tests/shared.h "$work/tests"

object() { echo "$work/obj/$(echo "$1" | tr / _).o"; }
build() { # what must be compiled when a file changes
    case $1 in
    src/op/softmax.h) build src/op/logp.c && build tests/ops.c ;;
    tests/template.c | tests/chat.c)
        $cc $flags "-DHN_SOURCE_ROOT=\"$PWD\"" -c -o "$(object "$1")" "$work/$1" ;;
    *.c) $cc $flags -c -o "$(object "$1")" "$work/$1" ;;
    *) return 1 ;;
    esac
}
for f in src/base/*.c src/tensor/*.c src/op/*.c tests/op*.c tests/tape.c tests/forest.c tests/kv.c \
    src/text/*.c tests/base.c tests/io.c tests/pool.c tests/opt.c tests/template.c tests/chat.c; do
    build "$f" || exit 1
done
ar rc "$work/help.a" "$work"/obj/tests_opcase.c.o "$work"/obj/tests_opgraph.c.o "$work"/obj/tests_opnet.c.o

killer() { # file: prints the first test that dies when this file was changed
    case $1 in
    src/base/*) tests="base io pool opt" ;;
    src/text/*) tests="template chat" ;;
    *) tests="opcheck ops forest tape kv" ;;
    esac
    for t in $tests; do
        $cc -o "$work/$t" "$work"/obj/src_*.o "$work/obj/tests_$t.c.o" "$work/help.a" $libs ||
            { echo linker; return; }
        timeout 60 "$work/$t" >"$work/out" 2>&1 || { echo $t; return; }
    done
}

who=$(killer src/op)$(killer src/base/)$(killer src/text/)
[ -z "$who" ] || { echo "mutants: $who fails without any bug"; tail -5 "$work/out"; exit 1; }

change() { # file: FROM becomes TO, once
    awk 'BEGIN { from = ENVIRON["FROM"]; to = ENVIRON["TO"] }
        !done && (i = index($0, from)) { $0 = substr($0, 1, i - 1) to substr($0, i + length(from)); done = 1 }
        { print }
        END { exit !done }' "$1"
}

killed=0 bad=0
mutant() { # file, from, to
    case $1 in *"$only"*) ;; *) return ;; esac
    FROM=$2 TO=$3
    export FROM TO
    cp "$work/$1" "$work/whole"
    if ! change "$work/whole" >"$work/$1"; then
        echo "NO SUCH LINE  $1: $2"
        bad=$((bad + 1))
    elif ! build "$1" 2>"$work/out"; then
        echo "NO BUILD      $1: $3"
        bad=$((bad + 1))
    else
        who=$(killer "$1")
        if [ "$who" = linker ]; then
            echo "NO BUILD      $1: $3"
            bad=$((bad + 1))
        elif [ -n "$who" ]; then
            killed=$((killed + 1))
            echo "killed by $who  $1: $3"
        else
            bad=$((bad + 1))
            echo "SURVIVED      $1: $2 -> $3"
        fi
    fi
    cp "$work/whole" "$work/$1"
    build "$1"
}

# file @@ what is there @@ what a tired person might have written
while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    mutant "${line%% @@ *}" "$(echo "$line" | sed 's/^.* @@ \(.*\) @@.*$/\1/')" "$(echo "$line" | sed 's/^.* @@ *//')"
done <<'LIST'
src/base/base.c @@ memset((char *)q + (size_t)*cap * size, 0, @@ memset((char *)q + (size_t)*cap * size, 0, 0 *
src/base/base.c @@ if (need > INT64_MAX / 2) return HN_ENOMEM; @@ if (need > INT64_MAX / 2) return HN_OK;
src/base/base.c @@ if (e && !e->code) { @@ if (e) {
src/base/base.c @@ if (b->oom) return false; @@ (void)0;
src/base/pool.c @@ rest < grain ? n : lo + grain @@ lo + grain
src/base/pool.c @@ atomic_compare_exchange_weak(&pool.left, &left, left - 1) @@ atomic_compare_exchange_weak(&pool.left, &left, left - 2)
src/base/pool.c @@ wake(&pool.work, slices - 1); @@ (void)0;
src/base/pool.c @@ if (!has_finished()) wait_for(&pool.finish, has_finished); @@ (void)0;
src/base/pool.c @@ == slices) wake(&pool.finish, 1); @@ == slices) (void)0;
src/base/io.c @@ if (o->part && !o->placed) unlink(o->part); @@ (void)0;
src/base/io.c @@ hn_buf_fmt(&b, "%s.hone-part", o->path); @@ hn_buf_fmt(&b, "%s", o->path);
src/base/io.c @@ if (hn_io_sync(o->fd)) hn_io_fail @@ if (0) hn_io_fail
src/base/io.c @@ p += put, n -= (size_t)put; @@ break;
src/base/io.c @@ if (ftruncate(o->fd, 0)) @@ if (0)
src/base/io.c @@ if (ftruncate(l->fd, l->at)) why = errno; @@ (void)0;
src/base/io.c @@ LOCK_EX | LOCK_NB @@ LOCK_SH | LOCK_NB
src/base/io.c @@ if (mode) fchmod(o->fd, mode); @@ (void)0;
src/base/io_dir.c @@ if (hn_io_rename(to, old)) return @@ if (hn_dir_remove(to, e)) return
src/base/io_dir.c @@ rename(old, to); @@ (void)0;
src/base/io_dir.c @@ if (hn_io_rename(old.data, path)) @@ if (0)
src/base/io_dir.c @@ FTW_DEPTH | FTW_PHYS @@ FTW_DEPTH
src/base/opt.c @@ if (g->rank > *rank) *rank = g->rank; @@ *rank = g->rank;
src/base/opt.c @@ g->rank < *rank ? (void *)&scratch : @@ 0 ? (void *)&scratch :
src/base/opt.c @@ return !*end && isfinite(*value); @@ return !*end;
src/base/opt.c @@ s->word_at[i - 1] > g->at @@ 0
src/base/opt.c @@ if (!*end && !errno) return true; @@ if (!*end) return true;
src/base/opt.c @@ x != floor(x) || @@ 0 ||
src/base/opt_yaml.c @@ strcmp(g->key, "env") @@ 0
src/base/opt_yaml.c @@ s->given[i].file == g.file && @@ 1 &&
src/base/opt_yaml.c @@ ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && @@ 1 &&
src/base/opt_show.c @@ if (i > 1 && j > 1 && @@ if (0 &&
src/op/arith.c @@ gin[1] = hn_affine(t, g[0], -1, 0); @@ gin[1] = g[0];
src/op/arith.c @@ gin[1] = hn_mul(t, g[0], y->in[0]); @@ gin[1] = hn_mul(t, g[0], y->in[1]);
src/op/arith.c @@ HN_IN(y, 0)[i] <= HN_IN(y, 1)[i] ? @@ HN_IN(y, 0)[i] > HN_IN(y, 1)[i] ?
src/op/arith.c @@ a <= b || isnan(a) ? a : b @@ a <= b ? a : b
src/op/arith.c @@ gin[1] = hn_sub(t, g[0], gin[0]); @@ gin[1] = g[0];
src/op/arith.c @@ a >= least && a <= most @@ a <= most
src/op/arith.c @@ hn_sigmoid(t, hn_affine(t, y->in[0], -1, 0)) @@ hn_sigmoid(t, y->in[0])
src/op/arith.c @@ hn_mul(t, y, hn_affine(t, y, -1, 1)) @@ hn_affine(t, y, -1, 1)
src/op/arith.c @@ gin[0] = hn_mul(t, g[0], y); @@ gin[0] = hn_mul(t, g[0], y->in[0]);
src/op/arith.c @@ a < 0 ? a - log1p(exp(a)) : -log1p(exp(-a)) @@ -log1p(exp(-a))
src/op/reduce.c @@ gin[0] = hn_sum(t, g[0]); @@ gin[0] = hn_affine(t, hn_sum(t, g[0]), 1.0000005, 0);
src/op/reduce.c @@ n = hn_count(y->in[0]) @@ n = hn_cap_rows(y->in[0]) * hn_cols(y->in[0])
src/op/reduce.c @@ if (HN_INI(y, 1)[r] == s) @@ if (HN_INI(y, 1)[r] >= s)
src/op/move.c @@ HN_OUT(y, 0)[id * C + c] += @@ HN_OUT(y, 0)[id * C + c] =
src/op/move.c @@ memset(HN_OUT(y, 0) + lo * C, 0, @@ memset(HN_OUT(y, 0) + lo * C, 0, 0 *
src/op/move.c @@ HN_OUT(y, 0)[k] += HN_IN(y, 0)[k] @@ HN_OUT(y, 0)[k] = HN_IN(y, 0)[k]
src/op/embed.c @@ HN_OUT(y, 0)[id * C + c] += @@ HN_OUT(y, 0)[id * C + c] =
src/op/linear.c @@ acc + HN_IN(y, 2)[o] : acc @@ acc : acc
src/op/linear.c @@ HN_OUT(y, 0)[o * C + c] += (hn_real)acc; @@ HN_OUT(y, 0)[o * C + c] = (hn_real)acc;
src/op/linear.c @@ HN_OUT(y, 0)[o] += (hn_real)acc; @@ HN_OUT(y, 0)[o] = (hn_real)acc;
src/op/linear.c @@ if (y->in[2]) gin[2] = hn_linear_b(t, g[0]); @@ (void)0;
src/op/linear.c @@ N = hn_rows(y->in[0]), prec = @@ N = hn_cap_rows(y->in[0]), prec =
src/op/norm.c @@ x[c] * r * r * dot @@ x[c] * r * dot
src/op/norm.c @@ gw[c] += (hn_real)(g[c] * x[c] * r) @@ gw[c] += (hn_real)(g[c] * x[c])
src/op/norm.c @@ HN_OUT(y, h < H ? 0 : 1) @@ HN_OUT(y, 0)
src/op/norm.c @@ gin[2] = gin[1]->out[1]; @@ gin[2] = gin[1];
src/op/norm.c @@ h < H ? HN_IN(y, 1) : HN_IN(y, 2), D @@ h <= H ? HN_IN(y, 1) : HN_IN(y, 2), D
src/op/norm.c @@ memcpy(out + (H + G) * D, g + (H + G) * D @@ memcpy(out + (H + G) * D, x + (H + G) * D
src/op/rope.c @@ rotate(y, lo, hi, -1, HN @@ rotate(y, lo, hi, 1, HN
src/op/rope.c @@ out[h * D + half + i] = v * c + u * s; @@ out[h * D + half + i] = v * c - u * s;
src/op/rope.c @@ turned = y->attr.i[0] + y->attr.i[1] @@ turned = y->attr.i[0]
src/op/rope.c @@ hn_real u = x[h * D + i], v = x[h * D + half + i]; @@ hn_real u = x[h * D + 2 * i], v = x[h * D + 2 * i + 1];
src/op/swiglu.c @@ s * (1 + a * (1 - s)) @@ s * (1 + a * s)
src/op/swiglu.c @@ (hn_real)(g * a * s) @@ (hn_real)(g * a)
src/op/attn.c @@ p->last + 1 : p->k @@ p->last : p->k
src/op/attn.c @@ while (span[3 * s + 2] != above) s = @@ if (span[3 * s + 2] != above) s =
src/op/attn.c @@ if (p->cur == p->own) return false; @@ return false;
src/op/attn.c @@ k = x + (H + h * G / H) * D @@ k = x + (H + h % G) * D
src/op/attn.c @@ double prob = exp(scale * dot(q, @@ double prob = exp(dot(q,
src/op/attn.c @@ (hn_real)(top + log(sum)) @@ (hn_real)log(sum)
src/op/attn.c @@ (dot(go, x + vat, D) - delta) * scale @@ dot(go, x + vat, D) * scale
src/op/attn.c @@ - delta) * scale; @@ - delta);
src/op/attn.c @@ gx[vat + d] += @@ gx[vat + d] =
src/op/attn.c @@ gx[kat + d] += (hn_real)(ds * x[qat + d]) @@ gx[kat + d] += (hn_real)(ds * x[kat + d])
src/op/attn.c @@ int64_t kv = (H + h * G / H) * D @@ int64_t kv = (H + h % G) * D
src/op/attn.c @@ memset(HN_OUT(y, 0) + lo * hn_cols(y), 0, @@ memset(HN_OUT(y, 0) + lo * hn_cols(y), 0, 0 *
src/op/attnkv.c @@ (int)(pos % HN_BLOCK), k, k @@ 0, k, k
src/op/attnkv.c @@ p <= pos; p++) sum @@ p < pos; p++) sum
src/op/attnkv.c @@ k, k + G * D); @@ k, k);
src/op/attnkv.c @@ g = (int)(h * kv->n_head / H) @@ g = (int)(h % kv->n_head)
src/op/attnkv.c @@ layer = (int)y->attr.i[1]; @@ layer = 0;
src/op/logp.c @@ == HN_INI(y, 2)[a]) - exp @@ == HN_INI(y, 2)[a]) + exp
src/op/logp.c @@ double dz = g * inv * @@ double dz = g *
src/op/logp.c @@ gw[(v0 + v) * C + c] += @@ gw[(v0 + v) * C + c] =
src/op/logp.c @@ gh[a * C + c] += @@ gh[a * C + c] =
src/op/logp.c @@ int64_t left = y->attr.i[1] - v0; @@ int64_t left = y->in[1]->shape.d[0] - v0;
src/op/logp.c @@ if (z[v] > top) top @@ if (z[v] >= top) top
src/op/logp.c @@ stat[3] = (hn_real)hn_lse_get(&at_t); @@ stat[3] = (hn_real)hn_lse_get(&at_1);
src/op/logp.c @@ stat[0] = (hn_real)(zt - @@ stat[0] = (hn_real)(zt * inv -
src/op/logp.c @@ zt = z[target - v0]; @@ zt = z[target % 512];  target = -1;
src/op/logp.c @@ if (gh) memset(gh @@ if (gh && lo > 0) memset(gh
src/op/logp.c @@ gin[1] = gin[0]->out[1]; @@ (void)0;
src/op/softmax.h @@ s = a->s * shrink; @@ s = a->s;
src/op/softmax.h @@ (a->t + a->s * (a->m - m)) * shrink @@ a->t * shrink
src/op/softmax.h @@ z <= m || isnan(m) ? m : z @@ fmax(z, m)
src/tensor/grad.c @@ x->grad ? hn_add(t, x->grad, g) : g @@ g
src/tensor/grad.c @@ is_acc(g) && !g->bound && unread(t, g, gin, since) @@ is_acc(g) && !g->bound
src/tensor/grad.c @@ g->id >= since && is_acc(g) @@ g->id >= since
src/tensor/grad.c @@ g[k] = y->op->fixed_out >> k & 1 ? NULL : @@ g[k] = k ? NULL :
src/tensor/grad.c @@ if (y->of) w->needed[i] |= w->needed[y->of->id]; @@ (void)0;
src/tensor/grad.c @@ hn_keep(wrt[i]->grad) @@ (void)0
src/tensor/grad.c @@ y->grad = NULL; @@ (void)0;
src/tensor/grad.c @@ w->needed[y->in[k]->id] && !(y @@ !(y
src/tensor/grad.c @@ return copy ? copy->out[hn_output_index(x)] : x; @@ return copy ? copy : x;
src/tensor/grad.c @@ while (i > 0 && t->node[i - 1]->segment == end->segment) i--; @@ (void)0;
src/tensor/grad.c @@ if (!y->op || w->stays[i]) continue; @@ if (!y->op) continue;
src/tensor/grad.c @@ y->in[k] ? twin(w, y->in[k]) : NULL @@ y->in[k]
src/tensor/grad.c @@ y->segment && y->segment != w->segment @@ y->segment
src/tensor/grad.c @@ y->segment && y->segment != w->segment @@ 0
src/tensor/grad.c @@ vjp(t, twin(w, y), g, gin); @@ vjp(t, y, g, gin);
src/tensor/grad.c @@ if (y->keep && hn_maker(y)) w->stays @@ if (0) w->stays
src/tensor/grad.c @@ if (x->type == HN_HOST) w->stays[i] = true; @@ (void)0;
src/tensor/grad.c @@ if (x->segment != y->segment && hn_maker(x)) @@ if (0)
src/tensor/grad.c @@ hn_segment(t, false); @@ (void)0;
src/tensor/tape.c @@ t->segment = on ? ++t->n_segment : 0; @@ t->segment = on;
src/tensor/tape.c @@ t->segment = t->n_segment = 0; @@ (void)0;
src/tensor/plan.c @@ p->last[i] = y->keep ? t->n_step : p->at_step[i]; @@ p->last[i] = p->at_step[i];
src/tensor/plan.c @@ bool dies = p->item_of[x->id] >= 0 && p->last[x->id] == p->at_step[y->id]; @@ bool dies = p->item_of[x->id] >= 0;
src/tensor/plan.c @@ return dies && uses == 1 && @@ return dies &&
src/tensor/plan.c @@ p->item[p->item_of[id]].last = p->last[id]; @@ (void)0;
src/tensor/plan.c @@ y->last < x->first || x->last < y->first @@ y->last <= x->first || x->last <= y->first
src/tensor/plan.c @@ if (y_end > at) at = y_end; @@ at = y_end;
src/tensor/plan.c @@ if (y->at >= at + size) break; @@ if (y->at >= at) break;
src/tensor/plan.c @@ runs |= p->wanted[y->out[k]->id]; @@ runs |= k == 0 && p->wanted[y->out[k]->id];
src/tensor/plan.c @@ bool runs = has_effect(y); @@ bool runs = false;
src/tensor/plan.c @@ bool runs = has_effect(y); @@ bool runs = true;
src/tensor/plan.c @@ if (y->keep || y->bound) p->wanted[i] = true; @@ if (y->keep) p->wanted[i] = true;
src/tensor/plan.c @@ && !p->wanted[id])) continue; @@ && 0)) continue;
src/tensor/plan.c @@ y->in[k] && !(y->op->like >> k & 1) @@ y->in[k] != NULL
src/tensor/plan.c @@ p->last[y->in[k]->id] < p->at_step[i]) p->last @@ p->last[y->in[k]->id] > p->at_step[i]) p->last
src/tensor/plan.c @@ if (s->work) p->work_of[i] = @@ if (0) p->work_of[i] =
src/tensor/run.c @@ if (y->op->acc >> k & 1) memset @@ if (0) memset
src/tensor/run.c @@ if (!(s->fresh >> k & 1)) continue; @@ (void)0;
src/tensor/run.c @@ t->bound[i].grad->data = t->bound[i].leaf->into; @@ (void)0;
src/tensor/run.c @@ t->live[k] > t->least[k] @@ t->live[k] > t->least[k] + 1
src/tensor/tape.c @@ return n < 0 ? t->shape.d[0] : n; @@ return t->shape.d[0];
src/tensor/tape.c @@ s->d[0] < t->least[s->live] @@ s->d[0] > t->least[s->live]
src/tensor/tape.c @@ if (t->n) memcpy(node, t->node, @@ if (0) memcpy(node, t->node,
src/tensor/forest.c @@ from[f->n_act] = i ? s.begin + i - 1 : @@ from[f->n_act] = i ? s.begin + i :
src/tensor/forest.c @@ x.parent < 0 ? -1 : x.parent - s0 + f->n_span @@ x.parent - s0 + f->n_span
src/tensor/forest.c @@ copy_ints(f->from + f->n_act, g->from + a0, a, f->n_token - t0) @@ copy_ints(f->from + f->n_act, g->from + a0, a, f->n_token)
src/tensor/forest.c @@ if (f->col[i].per == per && n) @@ if (0 && f->col[i].per == per && n)
src/tensor/forest.c @@ > grain_tokens) (*cut)[++n] = begin = t; @@ >= grain_tokens) (*cut)[++n] = begin = t;
src/tensor/forest.c @@ hi > lo ? span_of(f, f->from[hi - 1]) : root @@ hi > lo ? span_of(f, f->from[lo]) : root
src/tensor/forest.c @@ hn_free(tmp); @@ (void)tmp;
src/tensor/forest_check.c @@ x.parent < root || x.parent >= s @@ x.parent < 0 || x.parent >= s
src/tensor/forest_check.c @@ f->token[at] >= vocab) return lie(e, t, "token of row" @@ f->token[at] > vocab) return lie(e, t, "token of row"
src/tensor/kv.c @@ if (page[b] >= 0 && c->ref[page[b]] == 1) return HN_OK; @@ if (page[b] >= 0) return HN_OK;
src/tensor/kv.c @@ c->ref[b[i]]++; @@ (void)0;
src/tensor/kv.c @@ hn_kv_drop(c, to); @@ (void)0;
src/text/tmpl_lex.c @@ stop -= tm_rspace(x->s + begin, end - begin) @@ stop -= 0
src/text/tmpl_lex.c @@ if (x->at == x->n) return true; @@ (void)0;
src/text/tmpl_parse.c @@ n->op = tm_skip_name(p, "recursive"); @@ tm_skip_name(p, "recursive");
src/text/tmpl_parse.c @@ p->loops = p->maybe = 0; @@ p->loops = 0;
src/text/tmpl_expr.c @@ p->unknown = unknown; @@ (void)unknown;
src/text/tmpl_exec.c @@ l->depth0 + 1); @@ l->depth0);
src/text/tmpl_exec.c @@ if (!ok || completed || !n->e) return ok; @@ if (!ok || l->n || !n->e) return ok;
src/text/tmpl_exec.c @@ if (message >= 0) r->turn = message; @@ (void)message;
src/text/tmpl_exec.c @@ org.gen |= r->gen; @@ (void)0;
src/text/tmpl_exec.c @@ if (*target->attr == '_') @@ if (0)
src/text/tmpl_scope.c @@ entry *e = define(v, name, !knows(v->s, name, true)); @@ entry *e = define(v, name, false);
src/text/tmpl_attr.c @@ if (hidden(v, name)) return true; @@ (void)hidden;
src/text/tmpl_attr.c @@ if (i < 0) i += n; @@ (void)0;
src/text/tmpl_eval.c @@ q |= n % b != 0; @@ (void)0;
src/text/tmpl_eval.c @@ - (x % y && (x < 0) != (y < 0)) @@ - 0
src/text/tmpl_eval.c @@ if (!minus || !constant(n->a) || constant(n->b)) @@ if (1)
src/text/tmpl_eval.c @@ return is_start != back ? lower : upper; @@ return is_start ? lower : upper;
src/text/tmpl_eval.c @@ out->u.l->stop = l->start + stop * l->step; @@ out->u.l->stop = stop;
src/text/tmpl_eval.c @@ if (safe && !a->safe) a = tm_escape(r, a); @@ (void)0;
src/text/tmpl_call.c @@ if (k->kind == TM_STR && k->u.s->n && *k->u.s->p == '_') @@ if (0)
src/text/tmpl_call.c @@ if (n > 100000) @@ if (n > 100000000)
src/text/tmpl_case.c @@ mode == TM_TITLE_WORDS ? !is_cased(cp) : false @@ false
src/text/tmpl_case.c @@ ok = begins != inside; @@ ok = begins;
src/text/tmpl_pad.c @@ gap / 2 + (gap & width & 1) @@ gap / 2
src/text/tmpl_pad.c @@ if (n <= length + leeway) return true; @@ if (n <= length) return true;
src/text/tmpl_spec.c @@ align == '^' ? gap / 2 : 0 @@ align == '^' ? (gap + 1) / 2 : 0
src/text/tmpl_spec.c @@ percent ? f * 100 : f @@ f
src/text/tmpl_spec.c @@ (n - i) % every == 0 @@ i % every == 0
src/text/tmpl_spec.c @@ if (plain) tm_float_repr(f, digits); @@ if (plain) snprintf(digits, sizeof digits, "%g", f);
src/text/tmpl_format.c @@ if (how && alone) f->a.numbered = how; @@ (void)0;
src/text/tmpl_format.c @@ a->at < a->n && !a->spare @@ 0
src/text/tmpl_filter.c @@ if (digits < 0 || f == 0) return copysign(0, f); @@ if (digits <= 0 || f == 0) return copysign(0, f);
src/text/tmpl_filter.c @@ llabs(rest) == half && odd @@ llabs(rest) == half
src/text/tmpl_filter.c @@ j.n_comma = 1; @@ (void)0;
src/text/tmpl_seq.c @@ bool extra = i < n % columns @@ bool extra = i >= columns - n % columns
src/text/tmpl_seq.c @@ *yes = !eq && which == -1; @@ *yes = !eq && which != 1;
src/text/tmpl_value.c @@ if (v->kind == TM_ITER) l->at = l->n; @@ (void)0;
src/text/tmpl_value.c @@ *eq = number(b, &y) && x == y; @@ *eq = b->kind == a->kind && number(b, &y) && x == y;
src/text/tmpl_print.c @@ exp < -4 || exp >= 16 @@ exp < -4 || exp >= 17
src/text/tmpl_print.c @@ !memchr(p, '"', s->n) @@ 1
src/text/tmpl_print.c @@ if (cp >= 0x20 && (cp < 0x7f || !ascii)) return NULL; @@ if (cp >= 0x20 && cp != '<' && (cp < 0x7f || !ascii)) return NULL;
src/text/tmpl_str.c @@ t->org = s->seg[from].org; @@ (void)0;
src/text/tmpl_method.c @@ l->at = c->fn->arg ? 0 : (l->at + 1) % l->n; @@ l->at = c->fn->arg ? 0 : l->at;
src/text/tmpl_run.c @@ if (n == 7 && !memcmp(key, "content", n)) org.field = TM_CONTENT; @@ (void)0;
src/text/chat.c @@ if (same < g->header.n) same = marker_end(p, same); @@ (void)0;
src/text/chat.c @@ return blank(p, same) ? 0 : same; @@ return same;
src/text/chat.c @@ if ((end = last_prompt(p, shown, prompt))) return end; @@ (void)end;
src/text/chat.c @@ while (from < to && isspace((unsigned char)prompt->data[from])) from++; @@ (void)0;
src/text/chat.c @@ return rc || g->prompt.n ? rc : header_after(c, first, g, e); @@ return rc;
src/text/chat.c @@ while (end > from && isspace((unsigned char)text[end - 1])) end--; @@ (void)0;
src/text/chat.c @@ (!json_object_get(copy, "thinking") && @@ (0 &&
LIST
echo "$killed bugs killed, $bad not"
[ "$bad" -eq 0 ] && [ "$killed" -gt 0 ]
